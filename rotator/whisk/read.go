package whisk

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// GetAction reads an action, "name" or "package/name", without its code.
func (c *Client) GetAction(ctx context.Context, name string) (Action, error) {
	return fetch(ctx, c, "actions", name, url.Values{"code": {"false"}}, wireEntity.action)
}

// GetPackage reads a package or binding; "/namespace/package" reads one that another namespace has published.
func (c *Client) GetPackage(ctx context.Context, name string) (Package, error) {
	return fetch(ctx, c, "packages", name, nil, wireEntity.pkg)
}

// GetTrigger reads a trigger.
func (c *Client) GetTrigger(ctx context.Context, name string) (Trigger, error) {
	return fetch(ctx, c, "triggers", name, nil, wireEntity.trigger)
}

func fetch[T any](ctx context.Context, c *Client, collection, name string, query url.Values, convert func(wireEntity) (T, error)) (T, error) {
	var out T
	path, err := c.entityPath(http.MethodGet, collection, name)
	if err != nil {
		return out, err
	}
	err = c.get(ctx, call{path: path, query: query, read: converting(&out, convert)})
	return out, err
}

// converting decodes an entity of one type and leaves out untouched when it cannot.
func converting[T any](out *T, convert func(wireEntity) (T, error)) func(int, io.Reader) error {
	return func(status int, body io.Reader) error {
		var w wireEntity
		if err := into(&w)(status, body); err != nil {
			return err
		}
		got, err := convert(w)
		if err != nil {
			return err
		}
		*out = got
		return nil
	}
}

// entityPath escapes segment by segment, and refuses names that the host would refuse or read as something else.
// Only reads may leave the namespace.
func (c *Client) entityPath(method, collection, name string) (string, error) {
	ns, rest := c.ns, name
	if foreign, below, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/"); ok && method == http.MethodGet && name[0] == '/' {
		ns, rest = foreign, below
	}
	segments := strings.Split(rest, "/")
	most := 1
	if collection == "actions" {
		most = 2
	}
	for _, s := range append(segments, ns) {
		if len(segments) > most || !validName(s) {
			return "", &Error{Method: method, Path: collection + "/" + name, Status: http.StatusBadRequest,
				Message: fmt.Sprintf("not sent: %q is not the name of one of the %s of this namespace", name, collection)}
		}
	}
	path := collectionPath(ns, collection)
	for _, s := range segments {
		path += "/" + url.PathEscape(s)
	}
	return path, nil
}

func (c *Client) collection(name string) string { return collectionPath(c.ns, name) }

func collectionPath(ns, name string) string {
	return "/api/v1/namespaces/" + url.PathEscape(ns) + "/" + name
}
