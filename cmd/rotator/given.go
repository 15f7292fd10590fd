package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/openwhisk-rotator/rotator/cmd/internal/inputs"
	"github.com/openwhisk-rotator/rotator/rotator/param"
)

// entries gathers what the flags name. Pairs beat files, as with aio.
func (u *update) entries(stdin io.Reader, stderr io.Writer) (param.List, error) {
	if err := u.oneStdin(); err != nil {
		return nil, err
	}
	params, err := gather(u.file, inputs.Object, u.param, stdin)
	if err != nil {
		return nil, err
	}
	for _, p := range u.from.list {
		raw, err := inputs.Read(p[1], stdin)
		if err != nil {
			return nil, err
		}
		e, err := inputs.Text(p[0], raw)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(u.param.list, func(q [2]string) bool { return q[0] == p[0] }) {
			return nil, fmt.Errorf("parameter %q is given with -p and with --param-from; which value is meant?", p[0])
		}
		params = params.With(param.List{e})
	}
	env, err := gather(u.envFile, inputs.EnvFile, u.env, stdin)
	if err != nil {
		return nil, err
	}
	for i := range env {
		env[i].Init = true
		if _, both := params.Get(env[i].Key); both {
			return nil, fmt.Errorf("%s is given as parameter and as environment; decide for one", env[i].Key)
		}
	}
	return withoutMarks(params.With(env), stderr), nil
}

// withoutMarks leaves out what the rotator keeps for itself beside the values in Vault.
func withoutMarks(l param.List, stderr io.Writer) param.List {
	marks := slices.DeleteFunc(l.Keys(), func(key string) bool { return !strings.HasPrefix(key, "_rotator") })
	if len(marks) > 0 {
		fmt.Fprintf(stderr, "note: left out, it is the rotator's own mark and no parameter: %s\n", strings.Join(marks, ", "))
	}
	return l.Without(marks...)
}

// oneStdin refuses to read standard input twice.
func (u *update) oneStdin() error {
	n := 0
	for _, path := range append([]string{u.file, u.envFile}, u.from.values()...) {
		if path == "-" {
			n++
		}
	}
	if n > 1 {
		return errors.New("only one of --param-file, --param-from and --env-file can be standard input")
	}
	return nil
}

var secretName = regexp.MustCompile(`(?i)passw|secret|token|credential|(^|[^a-z])(api)?key($|[^a-z])`)

// exposed warns about values that look secret and stood on the command line.
func (u *update) exposed() (out []string) {
	for _, p := range append(slices.Clone(u.param.list), u.env.list...) {
		if secretName.MatchString(p[0]) {
			out = append(out, fmt.Sprintf("%s looks like a secret, and its value stood on the command line, where other people and the shell's history see it; use --param-file or --param-from", p[0]))
		}
	}
	return out
}

func gather(file string, read func([]byte) (param.List, error), given pairs, stdin io.Reader) (l param.List, err error) {
	if file != "" {
		raw, err := inputs.Read(file, stdin)
		if err != nil {
			return nil, err
		}
		if l, err = read(raw); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	var named param.List
	for _, p := range given.list {
		e, err := inputs.Argument(p[0], p[1])
		if err != nil {
			return nil, err
		}
		if _, twice := named.Get(e.Key); twice {
			return nil, fmt.Errorf("parameter %q is given twice; which value is meant?", e.Key)
		}
		named = append(named, e)
	}
	return l.With(named), nil
}
