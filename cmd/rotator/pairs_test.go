package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest/npmtest"
)

// TestPairsAfterGlobalFlags: where a global flag stands makes no difference.
func TestPairsAfterGlobalFlags(t *testing.T) {
	want := `--param=["A","1"]`
	for _, args := range []string{"action update name -p A 1", "-c x.yaml action update name -p A 1", "--config=x.yaml action update name --param=A 1", "-o json -c x.yaml action update name -pA 1",
		"action --config x.yaml --output=json update name -p A 1", "action update -c action name -p A 1"} {
		out, err := expandPairs(rootCommand(), strings.Fields(args))
		if err != nil || out[0] != "action" || out[1] != "update" || out[len(out)-1] != want {
			t.Errorf("%q: %v, %v", args, out, err)
		}
	}
}

// TestNoFlagIsSwallowed: an empty variable leaves a flag where a key or a value should be. No flag of ours and none of aio's is taken
// for one.
func TestNoFlagIsSwallowed(t *testing.T) {
	var flags []string
	for _, line := range regexp.MustCompile(`(?m)^ +(-\w), (--[\w-]+)|^ +(--[\w-]+)`).FindAllStringSubmatch(help(t), -1) {
		flags = append(flags, slices.DeleteFunc(line[1:], func(s string) bool { return s == "" })...)
	}
	if len(flags) < 15 || !slices.Contains(flags, "--dry-run") || !slices.Contains(flags, "-c") {
		t.Fatalf("flags in the help text: %v", flags)
	}
	flags = append(flags, "--host=x", "--json", "-t", "--timeout", "-u")
	s := around(t)
	for _, flag := range flags {
		for _, args := range [][]string{{"-p", "OWN", flag}, {"-p", "OWN", flag, "x"}, {"-p", flag, "x"}, {"-e", "A", "1", "B", flag, "-p", "OWN", "x"}, {"--param-from", "OWN", flag}, {"-P", flag, "-p", "OWN", "x"}} {
			code, out, errs := call(t, append([]string{"action", "update", "plain"}, args...)...)
			if code != exitUsage || !strings.Contains(errs, "variable empty") && !strings.Contains(errs, "no KEY VALUE") && !strings.Contains(errs, "of aio") && !strings.Contains(errs, "left over") {
				t.Errorf("%v: %d %s%s", args, code, out, errs)
			}
		}
	}
	if n := s.Count("PUT", ""); n > 0 {
		t.Errorf("%d PUTs", n)
	}
}

func help(t *testing.T) string {
	t.Helper()
	_, out, _ := call(t, "action", "update", "--help")
	return out
}

// TestArgumentsAreNotRepeated: whatever is wrong with a command line, what may be a value in it is not shown, and nothing is written.
func TestArgumentsAreNotRepeated(t *testing.T) {
	s := around(t)
	for line, want := range map[string]string{
		"plain|-p|A=canary|B=canary": "holds a =", "plain|-p|PASSWORD=canary": "left over", "plain|-p|PASSWORD=canary|x": "with a space between", "plain|--param=PASSWORD=canary": "left over", "plain|--param=PASSWORD=canary|x": "with a space between",
		"plain|-pPASSWORD=canary|x": "with a space between", "plain|-p|PASSWORD|canary|canary2": "quotes", "plain|-p|PASSWORD": "left over", "plain|-p": "no KEY VALUE", "plain|--param=canary": "left over",
		"plain|-p|A|1|-canary": "a space after -c", "plain|-p|A|1|-ocanary": "a space after -o", "plain|-p|A|1|-zcanary": "no flag of this command", "plain|-p|A|1|--canary": "no flag of this command", "plain|--canary=canary": "no flag of this command", "plain|-P": "wants a value",
		"plain|--yes=canary|-p|A|1": "has no value", "plain|canary|-p|A|1": "wants one name", "PASSWORD=canary|-p|A|1": "holds a =", "|-p|A|1": "no name of an action",
		"plain|-p|canary|\xff": "not UTF-8", "plain|-p|A|1|-u|canary": "a key does not belong on a command line", "plain|--auth=canary|-p|A|1": "a key does not belong on a command line", "plain|-ucanary|-p|A|1": "-u is a flag of aio",
		"plain|-c|200|-p|A|1": "concurrency", "plain|-c200|-p|A|1": "concurrency", "plain|-p||canary": "empty name",
	} {
		code, out, errs := call(t, append([]string{"action", "update"}, strings.Split(line, "|")...)...)
		if code != exitUsage || !strings.Contains(errs, want) || strings.Contains(out+errs, "canary") {
			t.Errorf("%s: exit code %d, want %q in:\n%s%s", line, code, want, out, errs)
		}
	}
	if n := s.Count("PUT", ""); n > 0 {
		t.Errorf("%d PUTs", n)
	}
}

// TestEveryFlagOfAIOIsKnown: what the real aio offers is there, or is explained.
func TestEveryFlagOfAIOIsKnown(t *testing.T) {
	aio := npmtest.AIO(t)
	around(t)
	for _, kind := range []string{"action", "package"} {
		text := string(npmtest.Run(t, "http://127.0.0.1:1", whisktest.GuestKey, aio, "runtime", kind, "update", "--help"))
		_, text, _ = strings.Cut(text, "\nFLAGS\n")
		flags := regexp.MustCompile(`(?m)^ +(?:(-\w), )?(--[a-z-]+)`).FindAllStringSubmatch(text, -1)
		if len(flags) < 15 {
			t.Fatalf("flags of aio runtime %s update: %v", kind, flags)
		}
		for _, f := range flags {
			for _, flag := range f[1:] {
				if slices.Contains([]string{"", "-p", "--param", "-P", "--param-file", "-e", "--env", "-E", "--env-file", "--help"}, flag) {
					continue
				}
				if code, out, errs := call(t, kind, "update", "shop", flag, "1"); code != exitUsage || !strings.Contains(errs, "aio") || strings.Contains(errs, "no flag of") {
					t.Errorf("%s: %d %s%s", flag, code, out, errs)
				}
			}
		}
	}
}

// FuzzExpandPairs: what is taken comes out whole, in order; what is refused is not repeated.
func FuzzExpandPairs(f *testing.F) {
	f.Add("-p\x00A\x001\x00B\x00-2\x00--yes")
	f.Add("--param=A\x00x\x00-eB\x00y\x00-P\x00-")
	f.Add("-p\x00PASSWORD=hunter2\x00x")
	f.Fuzz(func(t *testing.T, joined string) {
		words := strings.Split(joined, "\x00")
		out, err := expandPairs(rootCommand(), append([]string{"action", "update", "name"}, words...))
		for _, w := range words {
			if err != nil && len(w) > 14 && !strings.HasPrefix(w, "-") && strings.Contains(err.Error(), w) {
				t.Errorf("%q is in the error: %v", w, err)
			}
		}
		if err != nil || slices.Contains(words, "--") {
			return
		}
		var back []string
		for _, a := range out[3:] {
			var pair [2]string
			for _, flag := range []string{"--param=", "--env=", "--param-from="} {
				if text, ok := strings.CutPrefix(a, flag); ok && json.Unmarshal([]byte(text), &pair) == nil {
					back = append(back, pair[0], pair[1])
					a = ""
				}
			}
			if a != "" {
				back = append(back, a)
			}
		}
		var want []string
		for _, w := range words {
			for _, flag := range []string{"--param-from=", "--param=", "--env=", "--param-from", "--param", "--env", "-p=", "-e=", "-p", "-e"} {
				if rest, ok := strings.CutPrefix(w, flag); ok && (rest == "" || strings.HasSuffix(flag, "=") || len(flag) == 2) {
					w = rest
					break
				}
			}
			if w != "" {
				want = append(want, w)
			}
		}
		back = slices.DeleteFunc(back, func(s string) bool { return s == "" })
		if !slices.Equal(back, want) && !slices.ContainsFunc(words, func(w string) bool {
			return strings.HasPrefix(w, "-p") || strings.HasPrefix(w, "-e") || strings.HasPrefix(w, "--")
		}) {
			t.Errorf("%q became %q", words, out)
		}
	})
}
