package config

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
)

// ambient is what the OpenWhisk command lines would use on this machine: wsk's variables first, then
// those of aio, then .wskprops. It names where the key is and never holds it.
type ambient struct {
	source    string // for texts: "WHISK_AUTH" or the path of .wskprops
	apihost   string
	namespace string
	authEnv   string
	authFile  string
}

func (r *reader) ambient() ambient {
	var a ambient
	a.apihost = r.firstEnv("WHISK_APIHOST", "AIO_runtime_apihost", "AIO_RUNTIME_APIHOST")
	a.namespace = r.firstEnv("WHISK_NAMESPACE", "AIO_runtime_namespace", "AIO_RUNTIME_NAMESPACE")
	for _, name := range []string{"WHISK_AUTH", "AIO_runtime_auth", "AIO_RUNTIME_AUTH"} {
		if r.env(name) != "" {
			a.authEnv, a.source = name, name
			break
		}
	}
	path := r.env("WSK_CONFIG_FILE")
	if home := r.env("HOME"); path == "" && home != "" {
		path = filepath.Join(home, ".wskprops")
	}
	if path != "" && r.machine.ReadFile != nil {
		if data, err := r.machine.ReadFile(path); err == nil {
			a.wskprops(path, data)
		}
	}
	if u, ok := hostURL(a.apihost); a.apihost != "" && ok && u.User == nil {
		a.apihost = strings.TrimRight(u.String(), "/")
	} else {
		a.apihost = ""
	}
	return a
}

// wskprops fills in what the variables left open. A key in the file counts only together with the file's
// host: a key must never be sent to another host than its own.
func (a *ambient) wskprops(path string, data []byte) {
	p := readProps(data)
	if a.authEnv != "" {
		if a.authEnv == "WHISK_AUTH" { // as wsk does; aio's key belongs to Adobe's host
			a.apihost = cmp.Or(a.apihost, p["APIHOST"])
		}
		return
	}
	host := p["APIHOST"]
	if p["AUTH"] == "" || (a.apihost != "" && host != "" && !sameHost(a.apihost, host)) {
		return
	}
	a.authFile, a.source = path, path
	a.apihost = cmp.Or(a.apihost, host)
	a.namespace = cmp.Or(a.namespace, p["NAMESPACE"])
}

func (r *reader) firstEnv(names ...string) string {
	for _, n := range names {
		if v := r.env(n); v != "" {
			return v
		}
	}
	return ""
}

// readProps reads KEY=VALUE lines as wsk does; values may contain =.
func readProps(data []byte) map[string]string {
	out := make(map[string]string)
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		key, val, ok := strings.Cut(lines.Text(), "=")
		key = strings.TrimSpace(key)
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		out[strings.ToUpper(key)] = strings.Trim(strings.TrimSpace(val), `"'`)
	}
	return out
}

// A Credential is what a host wants to see: "uuid:key" for Basic, or a bearer token.
type Credential struct {
	Bearer bool
	Text   secret.Value
}

// Credential reads the host's key now, so that a key that was replaced is picked up. The error names the
// place and never the content.
func (h Host) Credential(m Machine) (Credential, error) {
	switch {
	case h.AuthEnv != "":
		s := ""
		if m.Env != nil {
			s, _ = m.Env(h.AuthEnv)
		}
		return basic(s, "variable "+h.AuthEnv)
	case h.BearerFile != "":
		data, err := h.read(m, h.BearerFile)
		if err != nil {
			return Credential{}, err
		}
		token := strings.TrimSpace(string(data))
		if token == "" {
			return Credential{}, fmt.Errorf("host %q: the file %s is empty; write the bearer token into it", h.Name, h.BearerFile)
		}
		return Credential{Bearer: true, Text: secret.FromText(token)}, nil
	}
	data, err := h.read(m, h.AuthFile)
	if err != nil {
		return Credential{}, err
	}
	text := strings.TrimSpace(string(data))
	if auth := readProps(data)["AUTH"]; auth != "" {
		text = auth
	}
	return basic(text, "file "+h.AuthFile)
}

func (h Host) read(m Machine, path string) ([]byte, error) {
	if m.ReadFile == nil {
		return nil, fmt.Errorf("host %q: no access to files", h.Name)
	}
	data, err := m.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("host %q: reading its key: %w", h.Name, err)
	}
	return data, nil
}

func basic(text, where string) (Credential, error) {
	text = strings.TrimSpace(text)
	user, key, ok := strings.Cut(text, ":")
	if !ok || user == "" || key == "" || strings.ContainsAny(text, " \t\r\n") {
		return Credential{}, fmt.Errorf("%s does not hold an OpenWhisk key; it must be uuid:key, as `wsk property get --auth` shows it", where)
	}
	return Credential{Text: secret.FromText(text)}, nil
}
