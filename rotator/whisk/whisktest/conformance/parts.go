package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
)

func sequence(h *host) {
	h.create("actions/@a", `{"exec":EXEC}`)
	h.create("actions/@s", `{"exec":{"kind":"sequence","components":["/_/@a"]}}`)
	before := h.do("GET", h.at("actions/@s?code=false"), "")
	after := h.put(h.at("actions/@s"), `{"parameters":[{"key":"K","value":"v"}]}`)
	if after.status != http.StatusOK || after.body["version"] != "0.0.2" {
		h.Errorf("PUT on a sequence: %d, version %v; want 200 and 0.0.2", after.status, after.body["version"])
	}
	if got := h.do("GET", h.at("actions/@s?code=false"), ""); strings.Contains(got.params(), "K=") || got.annotation("exec") != "sequence" {
		h.Errorf("a sequence took parameters: %s", got.params())
	}
	exec, _ := before.body["exec"].(map[string]any)
	if exec["kind"] != "sequence" || !reflect.DeepEqual(exec["components"], []any{"/" + h.ns + "/" + h.at("@a")}) {
		h.Errorf("exec of a sequence: %v", exec)
	}
}

func binding(h *host) {
	h.example()
	p := h.do("GET", h.at("packages/@p"), "")
	if b, _ := p.body["binding"].(map[string]any); b == nil || len(b) != 0 {
		h.Errorf("binding of a plain package is %v, want {}", p.body["binding"])
	}
	r := h.put(h.at("packages/@q"), `{"parameters":[{"key":"A","value":101}],"annotations":[],"binding":{}}`)
	b, _ := r.body["binding"].(map[string]any)
	if b["name"] != h.at("@p") || r.annotation("binding") == nil {
		h.Errorf("binding after a PUT: %v, annotation %v", r.body["binding"], r.annotation("binding"))
	}
	if !h.Encrypted {
		h.wantParams("own parameters of the binding", r, `A=101`)
		h.wantParams("provider", h.do("GET", h.at("packages/@p"), ""), `A=1 B=2`)
	}
	h.wantFail("no provider", h.put(h.at("packages/@r"), `{"binding":{"namespace":"_","name":"`+h.at("@none")+`"}}`), 400, "does not exist")
	h.wantFail("binding of a binding", h.put(h.at("packages/@r"), `{"binding":{"namespace":"_","name":"`+h.at("@q")+`"}}`), 400, "")
}

func trigger(h *host) {
	h.create("actions/@a", `{"exec":EXEC}`)
	h.create("triggers/@t", `{"parameters":[{"key":"B","value":9},{"key":"C","value":1}]}`)
	if r := h.do("POST", h.at("triggers/@t"), `{}`); r.status != http.StatusNoContent {
		h.Errorf("firing without a rule: %d, want 204", r.status)
	}
	h.create("rules/@r", `{"trigger":"/_/@t","action":"/_/@a"}`)
	h.wantParams("own", h.do("GET", h.at("triggers/@t"), ""), `B=9 C=1`)
	r := h.put(h.at("triggers/@t"), `{"parameters":[{"key":"B","value":10}]}`)
	h.wantParams("replaced", r, `B=10`)
	got := h.do("GET", h.at("triggers/@t"), "")
	rules, _ := got.body["rules"].(map[string]any)
	if _, has := rules[h.ns+"/"+h.at("@r")]; !has {
		h.Errorf("the rule is lost after a PUT: %v", rules)
	}
	if rule := h.do("GET", h.at("rules/@r"), ""); rule.body["status"] != "active" {
		h.Errorf("status of a new rule: %v", rule.body["status"])
	}
}

func lists(h *host) {
	for _, name := range []string{"1", "2", "3"} {
		h.create("packages/@"+name, `{"parameters":[{"key":"K","value":"v"}]}`)
	}
	h.put(h.at("packages/@1"), `{}`)
	var rows []map[string]any
	if err := json.Unmarshal(h.do("GET", "packages?limit=0&skip=0", "").raw, &rows); err != nil {
		h.Fatal(err)
	}
	var ours []string
	for _, row := range rows {
		name, _ := row["name"].(string)
		if strings.HasPrefix(name, h.pre) {
			ours = append(ours, strings.TrimPrefix(name, h.pre))
		}
		if row["parameters"] != nil {
			h.Error("a list row holds parameters")
		}
	}
	if !reflect.DeepEqual(ours, []string{"1", "3", "2"}) {
		h.Errorf("order of the list %v, want newest write first: 1 3 2", ours)
	}
	h.wantFail("limit too large", h.do("GET", "packages?limit=100000", ""), 400, "The query parameter 'limit' was malformed")
	h.wantFail("limit no number", h.do("GET", "packages?limit=x", ""), 400, "is not an integer")
	h.wantFail("negative skip", h.do("GET", "packages?skip=-1", ""), 400, "The query parameter 'skip' was malformed")
	if r := h.do("GET", "packages?count=true", ""); r.body["packages"] == nil {
		h.Errorf("count: %v, want {packages: n}", r.body)
	}
	h.create("actions/@1/a", `{"exec":EXEC}`)
	var inside []map[string]any
	if err := json.Unmarshal(h.do("GET", h.at("actions/@1/"), "").raw, &inside); err != nil || len(inside) != 1 {
		h.Errorf("list of one package: %v, %v", inside, err)
	}
}

func code(h *host) {
	h.create("actions/@a", `{"exec":EXEC,"limits":{"timeout":30000}}`)
	exec := func(r reply) map[string]any { m, _ := r.body["exec"].(map[string]any); return m }
	if got := exec(h.do("GET", h.at("actions/@a?code=false"), "")); got["code"] != nil || got["kind"] == nil {
		h.Errorf("code=false: exec has code=%t, kind %v", got["code"] != nil, got["kind"])
	}
	r := h.put(h.at("actions/@a"), `{"parameters":[{"key":"K","value":"v"}]}`)
	if exec(r)["code"] == nil || exec(h.do("GET", h.at("actions/@a"), ""))["code"] != echo {
		h.Error("a PUT of parameters must keep the code, and answer with it")
	}
	limits, _ := r.body["limits"].(map[string]any)
	if fmt.Sprint(limits["timeout"]) != "30000" {
		h.Errorf("a PUT of parameters changed the limits: %v", limits)
	}
	if r.annotation("exec") == nil {
		h.Error("no annotation exec")
	}
	bare := h.put(h.at("actions/@a"), `{"exec":{"kind":"`+h.Kind+`"}}`)
	h.wantFail("exec without code", bare, 400, "malformed")
}

func version(h *host) {
	h.create("actions/@a", `{"exec":EXEC}`)
	for _, want := range []string{"0.0.2", "0.0.3"} {
		if r := h.put(h.at("actions/@a"), `{}`); r.body["version"] != want {
			h.Errorf("version %v, want %s", r.body["version"], want)
		}
	}
	if r := h.put(h.at("actions/@a"), `{"version":"0.0.2"}`); r.body["version"] != "0.0.2" {
		h.Errorf("a version that is sent is stored as given: %v", r.body["version"])
	}
	// Two clients, one GET each, one PUT each: the later wins, and the version tells.
	h.create("packages/@p", `{"parameters":[{"key":"K","value":1}]}`)
	h.put(h.at("packages/@p"), `{"parameters":[{"key":"K","value":2},{"key":"L","value":1}]}`)
	r := h.put(h.at("packages/@p"), `{"parameters":[{"key":"K","value":3}]}`)
	if r.body["version"] != "0.0.3" {
		h.Errorf("after two writes: version %v, want 0.0.3", r.body["version"])
	}
}

func routes(h *host) {
	if r := h.do("GET", "/ping", ""); string(r.raw) != "pong" {
		h.Errorf("ping: %d %q", r.status, r.raw)
	}
	unknown := h.do("GET", "/api/v1/namespaces/_/nonsense", "")
	if unknown.status != 404 && unknown.status != 403 {
		h.Errorf("unknown collection: %d", unknown.status)
	}
	if r := h.do("POST", "packages", `{}`); r.status != 404 && r.status != 405 {
		h.Errorf("POST on a list: %d, want 404 or 405", r.status)
	}
	h.wantFail("bad name", h.do("GET", "actions/$bad", ""), 400, "illegal characters")
	h.wantFail("reserved name", h.put("packages/default", `{}`), 400, "")
	r := h.send("GET", h.at("actions/@none"), "", http.Header{"Authorization": {h.basic()}, "X-Request-Id": {"0123456789abcdef0123456789abcdef"}})
	if r.header.Get("X-Request-Id") == "" || fmt.Sprint(r.body["code"]) != r.header.Get("X-Request-Id") {
		h.Errorf("transaction id: header %q, code %v; want the same", r.header.Get("X-Request-Id"), r.body["code"])
	}
	limits := h.do("GET", "limits", "")
	if limits.status != http.StatusOK || limits.body["maxParameterSize"] == nil {
		h.Errorf("limits: %d %v", limits.status, limits.body)
	}
}

func invocation(h *host) {
	if !h.Invoke {
		h.Skip("this host is not said to run actions")
	}
	h.example()
	args := func(path, payload string) (map[string]any, any) {
		r := h.do("POST", h.at(path)+"?blocking=true&result=true", payload)
		got, _ := r.body["args"].(map[string]any)
		return got, r.body["E"]
	}
	got, env := args("actions/@p/a", `{"B":7}`)
	if fmt.Sprintf("%v %v %v %v", got["A"], got["B"], got["E"], env) != "1 7 <nil> x" {
		h.Errorf("payload beats action beats package, init is environment: args %v, E %v", got, env)
	}
	if got, _ = args("actions/@q/a", `{}`); fmt.Sprint(got["A"]) != "100" {
		h.Errorf("through the binding: A=%v, want 100", got["A"])
	}
	h.put(h.at("packages/@p"), `{"parameters":[{"key":"A","value":3}]}`)
	if got, _ = args("actions/@p/a", `{}`); fmt.Sprint(got["A"]) != "3" {
		h.Errorf("after a package PUT: A=%v, want 3 at once", got["A"])
	}
	h.put(h.at("actions/@p/a"), `{"annotations":[{"key":"final","value":true}]}`)
	h.wantFail("final", h.do("POST", h.at("actions/@p/a")+"?blocking=true", `{"B":7}`), 400, "not allowed")
}

func encryption(h *host) {
	if !h.Encrypted {
		h.Skip("this host does not lock values")
	}
	h.example()
	h.wantParams("GET", h.do("GET", h.at("actions/@p/a"), ""), `A=locked B=locked E=locked(init)`)
	own := h.put(h.at("actions/@p/a"), `{}`)
	list, _ := own.body["parameters"].([]any)
	var kept map[string]any
	for _, item := range list {
		if e, _ := item.(map[string]any); e["key"] == "E" {
			kept = e
		}
	}
	raw, _ := json.Marshal(kept)
	r := h.put(h.at("actions/@p/a"), `{"parameters":[{"key":"B","value":"new"},`+string(raw)+`]}`)
	h.wantParams("PUT shows new values in clear", r, `B="new" E=locked(init)`)
	h.wantParams("GET after it", h.do("GET", h.at("actions/@p/a"), ""), `A=locked B=locked E=locked(init)`)
	h.create("triggers/@t", `{"parameters":[{"key":"K","value":"v"}]}`)
	h.wantParams("triggers are never locked", h.do("GET", h.at("triggers/@t"), ""), `K="v"`)
	if !h.Invoke {
		return
	}
	got := h.do("POST", h.at("actions/@p/a")+"?blocking=true&result=true", `{}`)
	args, _ := got.body["args"].(map[string]any)
	if args["B"] != "new" || fmt.Sprint(args["A"]) != "1" || got.body["E"] != "x" {
		h.Errorf("the action must get values in clear: %v", got.body)
	}
}
