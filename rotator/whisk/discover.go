package whisk

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// AdobeHost is the API host that aio assumes.
const AdobeHost = "https://adobeioruntime.net"

// Props are the settings that wsk and aio users already have.
type Props struct {
	APIHost   string
	Namespace string
	Auth      secret.Value // "uuid:key"; the zero Value when none was found
}

// Discover looks where wsk and aio look, first match wins, setting by setting: WHISK_APIHOST, _AUTH and
// _NAMESPACE; AIO_runtime_apihost, _auth and _namespace, in lower or upper case; the file named by WSK_CONFIG_FILE,
// or ~/.wskprops. Adobe's host is assumed only for a key that came from an AIO variable, so that
// no other key is ever sent there. A missing file is no error; an unreadable one is.
func Discover(lookupEnv func(string) (string, bool), readFile func(string) ([]byte, error)) (Props, error) {
	file, err := wskProps(lookupEnv, readFile)
	if err != nil {
		return Props{}, err
	}
	first := func(name string) (value string, fromAIO bool) {
		upper := strings.ToUpper(name)
		if v, ok := lookupEnv("WHISK_" + upper); ok && v != "" {
			return v, false
		}
		for _, key := range []string{"AIO_runtime_" + name, "AIO_RUNTIME_" + upper} {
			if v, ok := lookupEnv(key); ok && v != "" {
				return v, true
			}
		}
		return file[upper], false
	}
	var p Props
	p.APIHost, _ = first("apihost")
	p.Namespace, _ = first("namespace")
	auth, fromAIO := first("auth")
	if auth != "" {
		p.Auth = secret.FromText(auth)
	}
	if p.APIHost == "" && fromAIO {
		p.APIHost = AdobeHost
	}
	return p, nil
}

// wskProps reads KEY=VALUE lines; as in wsk, a line that is not exactly two parts is skipped, and as in aio, "#"
// begins a comment.
func wskProps(lookupEnv func(string) (string, bool), readFile func(string) ([]byte, error)) (map[string]string, error) {
	path, ok := lookupEnv("WSK_CONFIG_FILE")
	if !ok || path == "" {
		home, ok := lookupEnv("HOME")
		if !ok || home == "" {
			return nil, nil
		}
		path = filepath.Join(home, ".wskprops")
	}
	raw, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the wsk properties: %w", err)
	}
	props := make(map[string]string)
	for line := range strings.Lines(string(raw)) {
		line, _, _ = strings.Cut(line, "#")
		if parts := strings.Split(line, "="); len(parts) == 2 {
			props[strings.ToUpper(strings.TrimSpace(parts[0]))] = strings.TrimSpace(parts[1])
		}
	}
	return props, nil
}
