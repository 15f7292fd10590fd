package conformance_test

import (
	"net/http/httptest"
	"net/url"
	"os"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest/conformance"
)

func emulator(t *testing.T, opt whisktest.Options) conformance.Target {
	s := whisktest.New(opt)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return conformance.Target{
		URL: srv.URL, Key: whisktest.GuestKey, Invoke: true, Encrypted: opt.Encryption == whisktest.Marked,
		Code: func(names ...string) {
			for _, name := range names {
				s.Handle(name, func(c whisktest.Call) (any, error) {
					return map[string]any{"args": c.Args, "E": c.Env["E"]}, nil
				})
			}
		},
	}
}

func TestEmulator(t *testing.T) { conformance.Run(t, emulator(t, whisktest.Options{})) }

func TestEmulatorThatEncrypts(t *testing.T) {
	conformance.Run(t, emulator(t, whisktest.Options{Encryption: whisktest.Marked}))
}

func TestRealHost(t *testing.T) {
	address := os.Getenv("ROTATOR_TEST_OPENWHISK")
	if address == "" {
		t.Skip("no real host: set ROTATOR_TEST_OPENWHISK=http://uuid:key@host:port")
	}
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		t.Fatal("ROTATOR_TEST_OPENWHISK is not of the form http://uuid:key@host:port")
	}
	pass, _ := u.User.Password()
	conformance.Run(t, conformance.Target{
		URL: u.Scheme + "://" + u.Host, Key: u.User.Username() + ":" + pass,
		Invoke:    os.Getenv("ROTATOR_TEST_OPENWHISK_INVOKE") != "",
		Encrypted: os.Getenv("ROTATOR_TEST_OPENWHISK_ENCRYPTED") != "",
	})
}
