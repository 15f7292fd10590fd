package whisktest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// A Call is one run of an action, as the code of the action sees it.
type Call struct {
	Action  string // "name" or "pkg/name"
	Version string
	Args    map[string]json.RawMessage
	Env     map[string]string // init parameters: of the moment when the container started
}

// Handle gives an action its code. Without it an action returns {}. An error is an application error.
func (s *Server) Handle(name string, code func(Call) (any, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code[s.opt.Namespace+"/"+name] = code
}

// Calls returns every run so far, in order.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// RetireContainers lets every container die, as after a long idle time: the next runs read init parameters afresh.
func (s *Server) RetireContainers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.containers)
}

func (s *Server) servePost(r *request, body []byte) *answer {
	if a := r.decode(body); a != nil {
		return a
	}
	switch r.collection {
	case "triggers":
		return s.fire(r)
	case "rules":
		return s.enable(r)
	}
	runs, refused := s.plan(r.in, r.pkg, r.name, r.payload)
	if refused != nil {
		return refused
	}
	record := s.run(runs)
	q := r.URL.Query()
	a := &answer{status: http.StatusOK, body: record, header: http.Header{"X-Openwhisk-Activation-Id": {record.ID}}}
	if record.Response.Status != "success" {
		a.status = http.StatusBadGateway
	}
	if truthy(q.Get("result"), false) {
		a.body = record.Response.Result
	}
	if !truthy(q.Get("blocking"), false) {
		a.status, a.body = http.StatusAccepted, map[string]string{"activationId": record.ID}
	}
	return a
}

// activation is the record of a run.
type activation struct {
	ID       string `json:"activationId"`
	Name     string `json:"name"`
	Version  string `json:"version"`
	Response struct {
		Status  string          `json:"status"`
		Success bool            `json:"success"`
		Result  json.RawMessage `json:"result"`
	} `json:"response"`
}

// step is one action of a run with its parameters as they were when the run was accepted.
type step struct {
	action *entity
	params []entry // merged, as stored
	final  bool
	input  map[string]json.RawMessage // payload of the first step
}

// plan captures all parameters at once: a late component of a sequence runs with values read now.
func (s *Server) plan(in, pkg, name string, payload map[string]json.RawMessage) ([]step, *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, inherited, _, refused := s.resolve(in, pkg, name)
	switch {
	case refused != nil:
		return nil, refused
	case s.kinds()[a.exec.kind]:
		return nil, fail(http.StatusBadRequest, textOldKind, a.exec.kind)
	}
	runs := []step{newStep(a, inherited)}
	if a.exec.kind == "sequence" {
		runs = nil
		for _, c := range a.exec.components {
			parts := strings.Split(strings.TrimPrefix(c, "/"), "/")
			pkg := ""
			if len(parts) == 3 {
				pkg = parts[1]
			}
			component, inherited, _, refused := s.resolve(parts[0], pkg, parts[len(parts)-1])
			if refused != nil {
				return nil, refused
			}
			runs = append(runs, newStep(component, inherited))
		}
	}
	if len(runs) > 0 {
		runs[0].input = payload
		if runs[0].immutable(payload) {
			return nil, fail(http.StatusBadRequest, TextFinal)
		}
	}
	return runs, nil
}

func newStep(a *entity, inherited []entry) step {
	st := step{action: a, params: merge(inherited, a.params)}
	if f, has := findEntry(a.annotations, "final"); has {
		st.final = string(f.value) == "true"
	}
	return st
}

// immutable reports a payload that names a parameter of a final action.
func (st step) immutable(payload map[string]json.RawMessage) bool {
	return st.final && slices.ContainsFunc(st.params, func(e entry) bool {
		_, named := payload[e.key]
		return named && string(e.value) != "null"
	})
}

// run executes step after step, each with the result of the one before as payload.
func (s *Server) run(runs []step) activation {
	record := activation{ID: newID()}
	record.Response.Status, record.Response.Success = "success", true
	record.Response.Result = json.RawMessage("{}")
	var payload map[string]json.RawMessage
	for i, st := range runs {
		if i == 0 {
			payload = st.input
		}
		record.Name, record.Version = st.action.name, st.action.versionText()
		result, err := s.runStep(st, payload)
		raw, marshalErr := json.Marshal(result)
		if err == nil && marshalErr != nil {
			err = marshalErr
		}
		if err != nil {
			raw, _ = json.Marshal(map[string]string{"error": err.Error()})
			record.Response.Status, record.Response.Success, record.Response.Result = "application error", false, raw
			return record
		}
		record.Response.Result = raw
		payload = nil
		_ = json.Unmarshal(raw, &payload) // a result that is no object passes nothing on
	}
	return record
}

func (s *Server) runStep(st step, payload map[string]json.RawMessage) (any, error) {
	s.mu.Lock()
	container := fmt.Sprintf("%s@%s#%d", st.action.key(), st.action.versionText(), st.action.updated)
	args, env := make(map[string]json.RawMessage), make(map[string]string)
	for _, e := range s.unseal(st.params) {
		if e.init {
			env[e.key] = envText(e.value)
			continue
		}
		args[e.key] = e.value
	}
	maps.Copy(args, payload)
	if warm, has := s.containers[container]; has {
		env = warm
	}
	s.containers[container] = env
	call := Call{Action: strings.TrimPrefix(st.action.key(), st.action.ns+"/"), Version: st.action.versionText(), Args: args, Env: maps.Clone(env)}
	s.calls = append(s.calls, call)
	code := s.code[st.action.key()]
	s.mu.Unlock()
	if code == nil {
		return map[string]any{}, nil
	}
	return code(call)
}

// envText is how a value becomes an environment variable: strings as they are, all else as JSON.
func envText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

// fire posts the trigger's parameters and the payload as payload to the action of every active rule.
func (s *Server) fire(r *request) *answer {
	s.mu.Lock()
	t, refused := s.find(r.key(), "triggers")
	if refused != nil {
		s.mu.Unlock()
		return refused
	}
	payload := make(map[string]json.RawMessage)
	for _, e := range t.params {
		payload[e.key] = e.value
	}
	maps.Copy(payload, r.payload)
	var actions []ref
	for _, e := range s.sorted("rules", t.ns, "") {
		if e.active && e.trigger.key() == t.key() {
			actions = append(actions, e.action)
		}
	}
	s.mu.Unlock()
	if len(actions) == 0 {
		return &answer{status: http.StatusNoContent}
	}
	for _, a := range actions {
		in, pkg, _ := strings.Cut(a.Path, "/")
		if runs, refused := s.plan(in, pkg, a.Name, payload); refused == nil {
			s.run(runs)
		}
	}
	id := newID()
	return &answer{status: http.StatusAccepted, body: map[string]string{"activationId": id}, header: http.Header{"X-Openwhisk-Activation-Id": {id}}}
}

func (s *Server) enable(r *request) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, refused := s.find(r.key(), "rules")
	if refused != nil {
		return refused
	}
	switch string(r.payload["status"]) {
	case `"active"`:
		e.active = true
	case `"inactive"`:
		e.active = false
	default:
		return fail(http.StatusBadRequest, TextMalformed+"status malformed!")
	}
	return ok(nil)
}
