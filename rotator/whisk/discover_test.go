package whisk_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/whisk"
)

func TestDiscover(t *testing.T) {
	files := map[string]string{"/home/me/.wskprops": "APIHOST=https://file\nAUTH=u:file # note\nBROKEN=a=b\nNAMESPACE=n\n"}
	for name, tc := range map[string]struct {
		env              map[string]string
		host, auth, ns   string
		unreadable, fail bool
	}{
		"file":       {env: map[string]string{"HOME": "/home/me"}, host: "https://file", auth: "u:file", ns: "n"},
		"wsk wins":   {env: map[string]string{"HOME": "/home/me", "WHISK_AUTH": "u:wsk", "AIO_runtime_auth": "u:aio"}, host: "https://file", auth: "u:wsk", ns: "n"},
		"aio":        {env: map[string]string{"AIO_RUNTIME_AUTH": "u:aio", "AIO_runtime_namespace": "x"}, host: whisk.AdobeHost, auth: "u:aio", ns: "x"},
		"wsk alone":  {env: map[string]string{"WHISK_AUTH": "u:wsk"}, auth: "u:wsk"},
		"nothing":    {env: map[string]string{"HOME": "/home/you"}},
		"unreadable": {env: map[string]string{"HOME": "/home/me"}, unreadable: true, fail: true},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := whisk.Discover(func(k string) (string, bool) { v, ok := tc.env[k]; return v, ok }, func(path string) ([]byte, error) {
				text, there := files[path]
				switch {
				case tc.unreadable:
					return nil, errors.New("permission denied")
				case !there:
					return nil, fmt.Errorf("open: %w", fs.ErrNotExist)
				}
				return []byte(text), nil
			})
			auth, _ := p.Auth.Text()
			if (err != nil) != tc.fail || p.APIHost != tc.host || auth != tc.auth || p.Namespace != tc.ns {
				t.Errorf("host %q, key of %q, namespace %q, %v", p.APIHost, auth, p.Namespace, err)
			}
		})
	}
}

func FuzzDiscover(f *testing.F) {
	f.Add("APIHOST=https://h\nAUTH=u:p#x\n=\nA=b=c")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := whisk.Discover(
			func(k string) (string, bool) { return "/f", k == "WSK_CONFIG_FILE" },
			func(string) ([]byte, error) { return []byte(text), nil },
		)
		if err != nil {
			t.Fatal(err)
		}
		if auth, _ := p.Auth.Text(); strings.ContainsAny(p.APIHost+p.Namespace, "#=\n") || strings.Contains(auth, "#") {
			t.Errorf("%q gives host %q and namespace %q", text, p.APIHost, p.Namespace)
		}
	})
}
