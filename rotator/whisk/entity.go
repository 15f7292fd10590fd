package whisk

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/param"
)

// An Annotation is one annotation with its value as raw JSON. It prints its key only: require-whisk-auth holds
// a secret.
type Annotation struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// Format prints the key under every verb.
func (a Annotation) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, a.Key) }

// Entity is what actions, packages and triggers have in common.
type Entity struct {
	Namespace   string // "ns", or "ns/package" for a packaged action
	Name        string
	Version     string
	Parameters  param.List
	Annotations []Annotation
	Updated     time.Time
}

// Annotation returns the raw value of an annotation.
func (e Entity) Annotation(key string) (json.RawMessage, bool) {
	for _, a := range e.Annotations {
		if a.Key == key {
			return a.Value, true
		}
	}
	return nil, false
}

func (e Entity) annotationText(key string) string {
	raw, _ := e.Annotation(key)
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// An Action as GET and PUT return it. After GET, Parameters of a packaged action are merged with those of its
// package; after PUT they are its own.
type Action struct {
	Entity
	Kind       string        // such as "nodejs:20", "sequence", "blackbox"
	Timeout    time.Duration // how long one run may take
	Binding    string        // "ns/binding" when it was read through a binding
	Components []string      // of a sequence: "/ns/package/action"
}

// Sequence reports an action that has no parameters of its own: a PUT of parameters is answered 200 and ignored.
func (a Action) Sequence() bool { return a.Kind == "sequence" }

// A Package as GET and PUT return it. After GET, Parameters of a binding are merged with the provider's.
type Package struct {
	Entity
	Binding string   // "ns/package" of the provider, or "" for a plain package
	Actions []string // names; only after GET
	Feeds   []string // names; only after GET
}

// A Trigger as GET and PUT return it; its parameters are never merged.
type Trigger struct {
	Entity
	Feed    string   // the feed action that fires it, which may hold a copy of its parameters
	Actions []string // that its rules start, "name" or "package/name"; only after GET
}

// wireEntity is the JSON of any entity.
type wireEntity struct {
	Namespace   string          `json:"namespace"`
	Name        string          `json:"name"`
	Version     string          `json:"version"`
	Parameters  json.RawMessage `json:"parameters"`
	Annotations []Annotation    `json:"annotations"`
	Updated     int64           `json:"updated"`
	Exec        struct {
		Kind       string   `json:"kind"`
		Components []string `json:"components"`
	} `json:"exec"`
	Limits struct {
		Timeout int64 `json:"timeout"`
	} `json:"limits"`
	Binding json.RawMessage `json:"binding"`
	Actions []named         `json:"actions"`
	Feeds   []named         `json:"feeds"`
	Rules   map[string]struct {
		Action struct{ Path, Name string } `json:"action"`
	} `json:"rules"`
}

type named struct {
	Name string `json:"name"`
}

// entityError is an answer that is JSON but no entity; its text holds no value.
type entityError struct{ text string }

func (e *entityError) Error() string { return e.text }

func (w wireEntity) entity() (Entity, error) {
	if w.Name == "" || w.Version == "" {
		return Entity{}, &entityError{"the answer is not an OpenWhisk entity: no name or version"}
	}
	e := Entity{Namespace: w.Namespace, Name: w.Name, Version: w.Version, Annotations: w.Annotations, Updated: time.UnixMilli(w.Updated)}
	if len(w.Parameters) == 0 {
		return e, nil
	}
	var err error
	if e.Parameters, err = param.Parse(w.Parameters); err != nil {
		return Entity{}, &entityError{"the answer holds no usable parameters: " + err.Error()}
	}
	return e, nil
}

func (w wireEntity) action() (Action, error) {
	e, err := w.entity()
	if err != nil {
		return Action{}, err
	}
	a := Action{Entity: e, Kind: w.Exec.Kind, Components: w.Exec.Components, Timeout: time.Duration(w.Limits.Timeout) * time.Millisecond}
	if a.Kind == "" {
		a.Kind = e.annotationText("exec")
	}
	var through string
	if json.Unmarshal(w.Binding, &through) == nil {
		a.Binding = through
	}
	return a, nil
}

func (w wireEntity) pkg() (Package, error) {
	e, err := w.entity()
	if err != nil {
		return Package{}, err
	}
	return Package{Entity: e, Binding: bindingName(w.Binding), Actions: names(w.Actions), Feeds: names(w.Feeds)}, nil
}

func (w wireEntity) trigger() (Trigger, error) {
	e, err := w.entity()
	if err != nil {
		return Trigger{}, err
	}
	t := Trigger{Entity: e, Feed: e.annotationText("feed")}
	for _, r := range w.Rules {
		t.Actions = append(t.Actions, Row{Namespace: r.Action.Path, Name: r.Action.Name}.Path())
	}
	slices.Sort(t.Actions)
	return t, nil
}

// bindingName reads {"namespace","name"}; {} and false, as lists have it, mean a plain package.
func bindingName(raw json.RawMessage) string {
	var b struct{ Namespace, Name string }
	if json.Unmarshal(raw, &b) != nil || b.Name == "" {
		return ""
	}
	return strings.TrimPrefix(b.Namespace+"/"+b.Name, "/")
}

func names(list []named) []string {
	var out []string
	for _, n := range list {
		out = append(out, n.Name)
	}
	return out
}
