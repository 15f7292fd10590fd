package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

const rest = `
vault: {address: "https://v", auth: {token_file: /t}}
bundles:
  x:
    secret: kv/x
    credentials: {c: {generate: {password_policy: p}, keys: {password: P}}}
    targets: [{host: h, action: x}]
`

func machine(vars, files map[string]string) Machine {
	m := bare(vars)
	m.ReadFile = func(p string) ([]byte, error) {
		if s, ok := files[p]; ok {
			return []byte(s), nil
		}
		return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
	}
	return m
}

// What wsk and aio would use is understood where the file leaves it out.
func TestSurroundings(t *testing.T) {
	props := map[string]string{"/home/me/.wskprops": "APIHOST=props.example.com\nAUTH=u:k=1\nNAMESPACE=mine\n"}
	for _, c := range []struct {
		name, host  string
		vars, files map[string]string
		want, bad   string
	}{
		{name: "wskprops", host: "{parallel: 2}", vars: map[string]string{"HOME": "/home/me"}, files: props, want: "https://props.example.com mine file=/home/me/.wskprops"},
		{
			name: "another file", host: "{parallel: 2}", vars: map[string]string{"WSK_CONFIG_FILE": "/p"},
			files: map[string]string{"/p": "AUTH=u:k\nAPIHOST=p.example.com"}, want: "https://p.example.com _ file=/p",
		},
		{
			name: "only a key of aio is sent to adobe", host: "{parallel: 2}", vars: map[string]string{"WSK_CONFIG_FILE": "/p"},
			files: map[string]string{"/p": "AUTH=u:k\n"}, bad: "apihost: is missing",
		},
		{
			name: "wsk variable with the file's host", host: "{parallel: 2}", vars: map[string]string{"HOME": "/home/me", "WHISK_AUTH": "a:b"}, files: props,
			want: "https://props.example.com _ env=WHISK_AUTH",
		},
		{
			name: "wsk variables first", host: "{parallel: 2}",
			vars: map[string]string{"WHISK_AUTH": "a:b", "WHISK_APIHOST": "w.example.com", "AIO_runtime_auth": "c:d", "HOME": "/home/me"}, files: props,
			want: "https://w.example.com _ env=WHISK_AUTH",
		},
		{
			name: "aio variables", host: "{parallel: 2}",
			vars: map[string]string{"AIO_RUNTIME_AUTH": "c:d", "AIO_runtime_namespace": "n"}, want: "https://adobeioruntime.net n env=AIO_RUNTIME_AUTH",
		},
		{name: "host given", host: "{apihost: props.example.com}", vars: map[string]string{"HOME": "/home/me"}, files: props, want: "https://props.example.com mine file=/home/me/.wskprops"},
		{
			name: "a key is not sent to another host", host: "{apihost: other.example.com}", vars: map[string]string{"HOME": "/home/me"}, files: props,
			bad: "the key in /home/me/.wskprops belongs to another host",
		},
		{
			name: "a key is not sent to another host of the environment", host: "{parallel: 2}",
			vars: map[string]string{"HOME": "/home/me", "WHISK_APIHOST": "other.example.com"}, files: props, bad: "auth_file: is missing",
		},
		{name: "file given", host: "{apihost: h.example.com, auth_file: /k}", vars: map[string]string{"HOME": "/home/me"}, files: props, want: "https://h.example.com _ file=/k"},
		{name: "nothing", host: "{apihost: h.example.com}", bad: "auth_file: is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := Parse("r.yaml", []byte("openwhisk: {h: "+c.host+"}"+rest), machine(c.vars, c.files))
			if c.bad != "" {
				if err == nil || !strings.Contains(err.Error(), c.bad) {
					t.Fatalf("got %v, want %q", err, c.bad)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			h := cfg.Hosts["h"]
			got := fmt.Sprintf("%s %s", h.APIHost, h.Namespace)
			if h.AuthEnv != "" {
				got += " env=" + h.AuthEnv
			}
			if h.AuthFile != "" {
				got += " file=" + h.AuthFile
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestCredential(t *testing.T) {
	m := machine(map[string]string{"KEY": "u:k", "EMPTY": ""}, map[string]string{
		"/plain": " u:k\n", "/props": "APIHOST=x\nAUTH=u:k\n", "/bearer": "token\n", "/empty": "\n", "/odd": "hunter2\n",
	})
	for _, c := range []struct {
		host   Host
		text   string
		bearer bool
		bad    string
	}{
		{host: Host{AuthEnv: "KEY"}, text: "u:k"},
		{host: Host{AuthFile: "/plain"}, text: "u:k"},
		{host: Host{AuthFile: "/props"}, text: "u:k"},
		{host: Host{BearerFile: "/bearer"}, text: "token", bearer: true},
		{host: Host{BearerFile: "/empty"}, bad: "is empty"},
		{host: Host{AuthEnv: "EMPTY"}, bad: "variable EMPTY does not hold"},
		{host: Host{AuthFile: "/odd"}, bad: "file /odd does not hold"},
		{host: Host{AuthFile: "/missing"}, bad: "reading its key"},
	} {
		got, err := c.host.Credential(m)
		if c.bad != "" {
			if err == nil || !strings.Contains(err.Error(), c.bad) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%+v: got %v, want %q", c.host, err, c.bad)
			}
			continue
		}
		if text, _ := got.Text.Text(); err != nil || text != c.text || got.Bearer != c.bearer {
			t.Errorf("%+v: wrong credential, error %v", c.host, err)
		}
		if strings.Contains(fmt.Sprintf("%+v", got), c.text) {
			t.Errorf("%+v: the credential can be printed", c.host)
		}
	}
	if _, err := (Host{AuthFile: "/missing"}).Credential(m); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cause is lost: %v", err)
	}
}

func FuzzProps(f *testing.F) {
	f.Add([]byte("APIHOST=a\nAUTH=u:k=\n# AUTH=x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for k := range readProps(data) {
			if strings.ContainsAny(k, "=\n") {
				t.Errorf("key %q", k)
			}
		}
	})
}

// TestAdobeHidesValues: wherever the host's address comes from, Adobe's hosts hide values unless the file says otherwise; no other does.
func TestAdobeHidesValues(t *testing.T) {
	for apihost, want := range map[string]bool{
		"https://adobeioruntime.net": true, "adobeioruntime.net": true, "https://1234-shop.adobeioruntime.net": true, "https://dev.runtime.adobe.io": true, "ADOBEIORUNTIME.NET.": true,
		"https://deploy-service.app-builder.adp.adobe.io/runtime": true, "http://adobeioruntime.net:8080": true,
		"https://notadobeioruntime.net": false, "https://adobeioruntime.net.example.com": false, "https://ow.example.com/adobe.io": false, "https://adobe.io.example.com": false,
	} {
		for setting, forced := range map[string]bool{"": want, ", hides_values: true": true, ", hides_values: false": false} {
			cfg, err := Parse("r.yaml", []byte("openwhisk: {h: {apihost: \""+apihost+"\", auth_file: /k"+setting+"}}"+rest), bare(nil))
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.Hosts["h"].HidesValues; got != forced {
				t.Errorf("%s%s: hides values %v", apihost, setting, got)
			}
		}
	}
	cfg, err := Parse("r.yaml", []byte("openwhisk: {h: {parallel: 2}}"+rest), machine(map[string]string{"AIO_runtime_auth": "a:b"}, nil))
	if err != nil || !cfg.Hosts["h"].HidesValues {
		t.Errorf("the host that aio assumes: %v, %v", cfg, err)
	}
}
