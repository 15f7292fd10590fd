package whisk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/openwhisk-rotator/rotator/rotator/param"
)

// An Update is the body of a PUT. What is nil is left out, and kept by the host; what is present replaces the
// whole list, except that the annotations of an action are merged by key.
type Update struct {
	Parameters  *param.List
	Annotations []Annotation
	Still       func() error // nil, or asked again when the request is about to leave: an error keeps it back
}

func (u Update) encode() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	if u.Parameters != nil {
		b.WriteString(`"parameters":`)
		b.Write(u.Parameters.Encode())
	}
	if u.Annotations != nil {
		raw, err := json.Marshal(u.Annotations)
		if err != nil {
			return nil, errors.New("an annotation is not valid JSON") // the error could quote it
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.WriteString(`"annotations":`)
		b.Write(raw)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// PutAction writes an existing action once. The answer holds its own parameters, unmerged.
func (c *Client) PutAction(ctx context.Context, name string, u Update) (Action, error) {
	return put(ctx, c, "actions", name, u, wireEntity.action)
}

// PutPackage writes a package or binding once. A missing one is created: GET first.
func (c *Client) PutPackage(ctx context.Context, name string, u Update) (Package, error) {
	return put(ctx, c, "packages", name, u, wireEntity.pkg)
}

// PutTrigger writes a trigger once. A missing one is created: GET first.
func (c *Client) PutTrigger(ctx context.Context, name string, u Update) (Trigger, error) {
	return put(ctx, c, "triggers", name, u, wireEntity.trigger)
}

// Touch writes an action without changing it: its version moves, its containers start afresh, and the answer
// holds its own parameters.
func (c *Client) Touch(ctx context.Context, name string) (Action, error) {
	return c.PutAction(ctx, name, Update{})
}

func put[T any](ctx context.Context, c *Client, collection, name string, u Update, convert func(wireEntity) (T, error)) (T, error) {
	var out T
	path, err := c.entityPath(http.MethodPut, collection, name)
	if err != nil {
		return out, err
	}
	body, err := u.encode()
	if err != nil {
		return out, &Error{Method: http.MethodPut, Path: path, Status: http.StatusBadRequest, Message: "not sent: " + err.Error()}
	}
	err = c.once(ctx, call{
		method: http.MethodPut,
		path:   path,
		query:  url.Values{"overwrite": {"true"}},
		body:   body,
		still:  u.Still,
		read:   converting(&out, convert),
	})
	u.scrub(err)
	return out, err
}

// scrub withholds a message that repeats a value that was sent: hosts may quote a body they refuse.
func (u Update) scrub(err error) {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Message == "" || u.Parameters == nil {
		return
	}
	for _, p := range *u.Parameters {
		s, isText := p.Value.Text()
		if !isText {
			s = string(p.Value.Reveal())
		}
		if len(s) >= 4 && strings.Contains(e.Message, s) && !strings.Contains(conflictText, s) {
			e.Message = "(the host's message is withheld: it repeats a parameter value)"
			return
		}
	}
}
