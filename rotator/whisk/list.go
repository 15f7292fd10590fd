package whisk

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A Row is one line of a list. Lists carry no parameters.
type Row struct {
	Namespace   string // "ns", or "ns/package" for a packaged action
	Name        string
	Version     string
	Annotations []Annotation
	Kind        string        // of an action
	Timeout     time.Duration // of an action
	Binding     string        // of a package: "ns/package" of the provider
	Updated     time.Time
}

// Path is the name by which the row is read: "name", or "package/name".
func (r Row) Path() string {
	if _, pkg, packaged := strings.Cut(r.Namespace, "/"); packaged {
		return pkg + "/" + r.Name
	}
	return r.Name
}

// ListActions returns all actions of the namespace, packaged ones included.
func (c *Client) ListActions(ctx context.Context) ([]Row, error) { return c.list(ctx, "actions") }

// ListPackages returns all packages and bindings of the namespace.
func (c *Client) ListPackages(ctx context.Context) ([]Row, error) { return c.list(ctx, "packages") }

// ListTriggers returns all triggers of the namespace.
func (c *Client) ListTriggers(ctx context.Context) ([]Row, error) { return c.list(ctx, "triggers") }

// passes bounds how often a list is read again because something moved.
const passes = 6

// list pages until two passes agree. Rows come newest first, so that a write during a pass moves its entity to
// the front: another row then comes twice, and the moved one not at all. A list of one page cannot be torn.
func (c *Client) list(ctx context.Context, collection string) ([]Row, error) {
	all := make(map[string]Row)
	var order []string
	before := ""
	for range passes {
		rows, pages, err := c.pass(ctx, collection)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			key := r.Namespace + "/" + r.Name
			if old, ok := all[key]; !ok {
				order = append(order, key)
			} else if old.Updated.After(r.Updated) {
				continue
			}
			all[key] = r
		}
		now := fmt.Sprint(keysAndTimes(rows))
		if pages <= 1 || now == before {
			return rows, nil
		}
		before = now
	}
	out := make([]Row, 0, len(order))
	for _, key := range order {
		out = append(out, all[key])
	}
	return out, fmt.Errorf("listing %s: %w; list again at a quieter time", collection, ErrUnstable)
}

func keysAndTimes(rows []Row) []string {
	var out []string
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%q %q %d", r.Namespace, r.Name, r.Updated.UnixMilli()))
	}
	return out
}

// pass reads page after page until an empty one; the host decides how long a page is.
func (c *Client) pass(ctx context.Context, collection string) (rows []Row, pages int, err error) {
	for skip := 0; ; {
		var page []wireEntity
		err := c.get(ctx, call{
			path:  c.collection(collection),
			query: url.Values{"limit": {"0"}, "skip": {strconv.Itoa(skip)}},
			read:  into(&page),
		})
		if err != nil {
			return nil, pages, err
		}
		if len(page) == 0 {
			return rows, pages, nil
		}
		pages++
		skip += len(page)
		for _, w := range page {
			rows = append(rows, w.row())
		}
	}
}

func (w wireEntity) row() Row {
	e := Entity{Annotations: w.Annotations}
	return Row{
		Namespace:   w.Namespace,
		Name:        w.Name,
		Version:     w.Version,
		Annotations: w.Annotations,
		Kind:        e.annotationText("exec"),
		Timeout:     time.Duration(w.Limits.Timeout) * time.Millisecond,
		Binding:     bindingName(w.Binding),
		Updated:     time.UnixMilli(w.Updated),
	}
}
