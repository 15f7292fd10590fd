package whisk

import (
	"context"
	"errors"
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

// errTorn says that rows moved between two pages.
var errTorn = errors.New("rows moved between two pages")

// list reads every page once, each beginning with the last row of the one before: rows come newest first, so that what is
// written, made or deleted meanwhile moves the others, and the pages do not meet. Then everything is read again. What was
// written without moving the pages is at the front in the end, and is looked for there.
func (c *Client) list(ctx context.Context, collection string) ([]Row, error) {
	seen := newRows()
	for range passes {
		rows, err := c.pass(ctx, collection)
		seen.add(rows)
		if err == nil {
			return rows, nil
		}
		if !errors.Is(err, errTorn) {
			return nil, err
		}
	}
	return seen.list, fmt.Errorf("listing %s: %w; list again at a quieter time", collection, ErrUnstable)
}

// pass reads page after page; the host decides how long a page is. With errTorn it returns what it has read.
func (c *Client) pass(ctx context.Context, collection string) ([]Row, error) {
	first, err := c.page(ctx, collection, 0)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	all := newRows()
	all.add(first)
	last, pages, torn := first[len(first)-1], 1, false
	for skip, more := len(first)-1, true; more; {
		page, err := c.page(ctx, collection, skip)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 || !page[0].same(last) {
			torn = true // the rest is read all the same: it may be all that there will be
		}
		if len(page) > 1 {
			pages++
			last = page[len(page)-1]
		}
		all.add(page)
		skip += len(page) - 1
		more = len(page) >= len(first) && len(page) > 1
	}
	switch {
	case torn:
		return all.list, errTorn
	case pages == 1: // one page cannot be torn
		return all.list, nil
	}
	err = c.front(ctx, collection, first[0], all)
	return all.list, err
}

// front adds what was written since the first page was read: it stands before the row that was the newest then.
func (c *Client) front(ctx context.Context, collection string, newest Row, all *rows) error {
	page, err := c.page(ctx, collection, 0)
	if err != nil {
		return err
	}
	for _, r := range page {
		if r.same(newest) {
			return nil
		}
		all.add([]Row{r})
	}
	return errTorn // the newest row itself has moved, or went
}

func (c *Client) page(ctx context.Context, collection string, skip int) ([]Row, error) {
	var page []wireEntity
	err := c.get(ctx, call{
		path:  c.collection(collection),
		query: url.Values{"limit": {"0"}, "skip": {strconv.Itoa(skip)}},
		read:  into(&page),
	})
	out := make([]Row, len(page))
	for i, w := range page {
		out[i] = w.row()
	}
	return out, err
}

// same reports the same entity, not written in between.
func (r Row) same(o Row) bool {
	return r.Namespace == o.Namespace && r.Name == o.Name && r.Updated.Equal(o.Updated)
}

// rows is a set of rows in the order in which they were first seen; of two states of an entity the newer one stays.
type rows struct {
	list []Row
	at   map[string]int
}

func newRows() *rows { return &rows{at: make(map[string]int)} }

func (s *rows) add(list []Row) {
	for _, r := range list {
		key := r.Namespace + "/" + r.Name
		i, ok := s.at[key]
		switch {
		case !ok:
			s.at[key] = len(s.list)
			s.list = append(s.list, r)
		case !s.list[i].Updated.After(r.Updated):
			s.list[i] = r
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
