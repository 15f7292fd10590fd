package conformance

import (
	"net/http"
	"strings"
	"testing"
)

// Run tests a host. Each part sets up what it needs under names of its own and removes it.
func Run(t *testing.T, target Target) {
	for _, part := range []struct {
		name string
		test func(*host)
	}{
		{"auth", auth},
		{"merge on get", mergeOnGet},
		{"put answers unmerged", putUnmerged},
		{"put replaces parameters", putReplaces},
		{"put refuses", putRefuses},
		{"missing entities", missing},
		{"three conflicts", conflicts},
		{"annotations", annotations},
		{"sequence ignores parameters", sequence},
		{"binding", binding},
		{"trigger", trigger},
		{"lists", lists},
		{"code", code},
		{"version", version},
		{"routes", routes},
		{"invocation", invocation},
		{"encryption", encryption},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(newHost(t, target)) })
	}
}

// example is the state of openwhisk.md section 12: package p, action p/a, binding q.
func (h *host) example() {
	h.Helper()
	h.create("packages/@p", `{"parameters":[{"key":"A","value":1},{"key":"B","value":2}]}`)
	h.create("actions/@p/a", `{"exec":EXEC,"parameters":[{"key":"B","value":20},{"key":"E","value":"x","init":true}]}`)
	h.create("packages/@q", `{"binding":{"namespace":"_","name":"@p"},"parameters":[{"key":"A","value":100}]}`)
}

// plain skips a part that reads values.
func (h *host) plain() {
	h.Helper()
	if h.Encrypted {
		h.Skip("this host locks values; the part about encryption covers it")
	}
}

func auth(h *host) {
	none := h.send("GET", "actions", "", http.Header{})
	h.wantFail("no credential", none, 401, "authentication")
	if !strings.HasPrefix(none.header.Get("WWW-Authenticate"), "Basic") {
		h.Errorf("no credential: WWW-Authenticate is %q", none.header.Get("WWW-Authenticate"))
	}
	wrong := http.Header{"Authorization": {"Basic bm9ib2R5OndoYXRldmVy"}}
	h.wantFail("wrong credential", h.send("GET", "actions", "", wrong), 401, "")
	h.wantFail("foreign namespace", h.do("GET", "/api/v1/namespaces/rotator-nobody-owns-this/actions", ""), 403, "not authorized")
}

func mergeOnGet(h *host) {
	h.plain()
	h.example()
	h.wantParams("packaged action", h.do("GET", h.at("actions/@p/a"), ""), `A=1 B=20 E="x"(init)`)
	through := h.do("GET", h.at("actions/@q/a?code=false"), "")
	h.wantParams("through a binding", through, `A=100 B=20 E="x"(init)`)
	if through.body["binding"] != h.ns+"/"+h.at("@q") || through.body["namespace"] != h.ns+"/"+h.at("@p") {
		h.Errorf("through a binding: binding %v, namespace %v", through.body["binding"], through.body["namespace"])
	}
	q := h.do("GET", h.at("packages/@q"), "")
	h.wantParams("binding", q, `A=100 B=2`)
	if list, _ := q.body["actions"].([]any); len(list) != 1 {
		h.Errorf("binding: actions %v, want those of the provider", q.body["actions"])
	}
}

func putUnmerged(h *host) {
	h.plain()
	h.example()
	touched := h.put(h.at("actions/@p/a"), `{}`)
	h.wantParams("PUT {} on the action", touched, `B=20 E="x"(init)`)
	if touched.body["version"] != "0.0.2" {
		h.Errorf("PUT {}: version %v, want 0.0.2", touched.body["version"])
	}
	h.wantParams("PUT {} on the binding", h.put(h.at("packages/@q"), `{}`), `A=100`)
	// The bug to avoid: writing the merged list back makes A the action's own.
	h.put(h.at("actions/@p/a"), `{"parameters":[{"key":"A","value":1},{"key":"B","value":20}]}`)
	h.put(h.at("packages/@p"), `{"parameters":[{"key":"A","value":2},{"key":"B","value":2}]}`)
	h.wantParams("after a naive write-back", h.do("GET", h.at("actions/@p/a"), ""), `A=1 B=20`)
}

func putReplaces(h *host) {
	h.plain()
	h.example()
	h.wantParams("one of two", h.put(h.at("actions/@p/a"), `{"parameters":[{"key":"B","value":21}]}`), `B=21`)
	h.wantParams("none", h.put(h.at("actions/@p/a"), `{"parameters":[]}`), ``)
	h.wantParams("marks", h.put(h.at("actions/@p/a"), `{"parameters":[{"key":"I","value":{"a":[1.50,null]},"init":true},{"key":"J","value":"<&>","init":false},{"key":"N","value":null,"init":true,"encryption":null}]}`),
		`I={"a":[1.50,null]}(init) J="\u003c\u0026\u003e" N=null(init)`)
	h.wantParams("repeated key", h.put(h.at("actions/@p/a"), `{"parameters":[{"key":"B","value":1},{"key":"B","value":2}]}`), `B=2`)
	h.wantParams("kept when absent", h.put(h.at("actions/@p/a"), `{"publish":false}`), `B=2`)
	h.wantParams("unknown fields", h.put(h.at("actions/@p/a"), `{"name":"other","updated":1,"x":1}`), `B=2`)
}

func putRefuses(h *host) {
	h.example()
	path := h.at("actions/@p/a")
	for _, body := range []string{
		`{"parameters":{"B":21}}`, `{"parameters":[{"key":"B"}]}`, `{"parameters":[{"value":1}]}`, `{"parameters":[1]}`,
		`{"parameters":[{"key":1,"value":1}]}`, `{"parameters":[{"key":"B","value":1,"init":"yes"}]}`,
	} {
		h.wantFail(body, h.put(path, body), 400, "malformed")
	}
	h.wantFail("no object", h.put(path, `[]`), 400, "malformed")
	h.wantFail("no body", h.put(path, ``), 400, "")
	text := http.Header{"Authorization": {h.basic()}, "Content-Type": {"text/plain"}}
	h.wantFail("text", h.send("PUT", path+"?overwrite=true", `{}`, text), 415, "application/json")
	big := `{"parameters":[{"key":"B","value":"` + strings.Repeat("x", 1<<20) + `"}]}`
	h.wantFail("too large", h.put(path, big), 413, "larger than allowed")
	h.wantFail("below a binding", h.put(h.at("actions/@q/a"), `{}`), 400, "Operation not permitted on package binding.")
}

func missing(h *host) {
	h.wantFail("action", h.put(h.at("actions/@zz"), `{"parameters":[]}`), 400, "exec undefined")
	h.wantFail("package of an action", h.put(h.at("actions/@zz/a"), `{"parameters":[]}`), 404, "does not exist")
	h.wantFail("GET action", h.do("GET", h.at("actions/@zz"), ""), 404, "does not exist")
	h.wantFail("GET package", h.do("GET", h.at("packages/@zz"), ""), 404, "does not exist")
	h.wantFail("GET trigger", h.do("GET", h.at("triggers/@zz"), ""), 404, "does not exist")
	// The typo guard: these are created, secrets included.
	for _, path := range []string{"packages/@zz", "triggers/@zt"} {
		if r := h.create(path, `{"parameters":[{"key":"K","value":"v"}]}`); r.body["version"] != "0.0.1" {
			h.Errorf("PUT on missing %s: version %v, want it created as 0.0.1", path, r.body["version"])
		}
	}
}

func conflicts(h *host) {
	h.example()
	h.wantFail("exists", h.do("PUT", h.at("packages/@p"), `{}`), 409, "resource already exists")
	h.wantFail("exists, overwrite=false", h.do("PUT", h.at("actions/@p/a?overwrite=false"), `{}`), 409, "resource already exists")
	h.wantFail("GET of a package as action", h.do("GET", h.at("actions/@p"), ""), 409, "not in this collection")
	h.wantFail("PUT of a package as trigger", h.put(h.at("triggers/@p"), `{}`), 409, "not in this collection")
	h.create("packages/@o", `{}`)
	h.wantFail("package to binding", h.put(h.at("packages/@p"), `{"binding":{"namespace":"_","name":"`+h.at("@o")+`"}}`), 409, "cannot be converted into a binding")
	h.wantFail("DELETE of a full package", h.do("DELETE", h.at("packages/@p"), ""), 409, "not empty")
}

func annotations(h *host) {
	h.create("packages/@p", `{"annotations":[{"key":"x","value":1},{"key":"y","value":2}]}`)
	h.create("actions/@p/a", `{"exec":EXEC,"annotations":[{"key":"x","value":1},{"key":"y","value":2}]}`)
	h.create("triggers/@t", `{"annotations":[{"key":"x","value":1},{"key":"y","value":2}]}`)
	change := `{"annotations":[{"key":"x","value":7}]}`
	if r := h.put(h.at("actions/@p/a"), change); r.annotation("y") == nil || r.annotation("exec") == nil {
		h.Errorf("action: annotations %v, want them merged by key", r.body["annotations"])
	}
	for _, path := range []string{"packages/@p", "triggers/@t"} {
		if r := h.put(h.at(path), change); r.annotation("y") != nil || r.annotation("x") == nil {
			h.Errorf("%s: annotations %v, want them replaced wholesale", path, r.body["annotations"])
		}
		if r := h.put(h.at(path), `{"parameters":[]}`); r.annotation("x") == nil {
			h.Errorf("%s: annotations are gone after a PUT without them", path)
		}
	}
	if r := h.put(h.at("actions/@p/a"), `{"delAnnotations":["y"]}`); r.annotation("y") != nil || r.annotation("x") == nil {
		h.Errorf("delAnnotations: %v", r.body["annotations"])
	}
}

func (h *host) basic() string {
	req, _ := http.NewRequest(http.MethodGet, h.URL, nil)
	user, pass, _ := strings.Cut(h.Key, ":")
	req.SetBasicAuth(user, pass)
	return req.Header.Get("Authorization")
}
