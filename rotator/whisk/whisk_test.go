package whisk_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/openwhisk-rotator/rotator/rotator/secret"
	"github.com/openwhisk-rotator/rotator/rotator/whisk"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

const canary = "canary-3f9a1c"

func guest(context.Context) (secret.Value, error) { return secret.FromText(whisktest.GuestKey), nil }

// serve starts an emulator with a client and, unless fouls are ignored, a referee.
func serve(t *testing.T, opt whisktest.Options, ignored ...whisktest.Foul) (*whisktest.Server, *whisk.Client) {
	t.Helper()
	s := whisktest.New(opt)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.Referee(t, ignored...)
	return s, client(t, srv.URL)
}

func client(t *testing.T, address string) *whisk.Client {
	t.Helper()
	c, err := whisk.New(whisk.Config{APIHost: address, Auth: whisk.Basic(guest)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// example is the state of openwhisk.md section 12.
func example(s *whisktest.Server) {
	s.Package("p", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"A","value":1},{"key":"B","value":2}]`), Annotations: map[string]any{"team": "shop"}})
	s.Action("p/a", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"B","value":20},{"key":"E","value":"x","init":true}]`), Code: "code"})
	s.Binding("q", "p", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"A","value":100}]`)})
	s.Trigger("t", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"B","value":9}]`), Annotations: map[string]any{"feed": "/whisk.system/alarms/alarm"}})
}

func wantOwn(t *testing.T, s *whisktest.Server, collection, name, want string) {
	t.Helper()
	got, found := s.Snapshot(collection, name)
	if !found || !got.Own.Equal(whisktest.Params(want)) {
		t.Errorf("%s %s owns %s, want %s", collection, name, got.Own.Encode(), want)
	}
}

func TestPackagedActionInheritsNothing(t *testing.T) {
	s, c := serve(t, whisktest.Options{})
	example(s)
	ctx := t.Context()
	a, err := c.GetAction(ctx, "p/a")
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.GetPackage(ctx, "p")
	if err != nil {
		t.Fatal(err)
	}
	next := a.Parameters.Own(p.Parameters).With(whisktest.Params(`[{"key":"B","value":21}]`))
	put, err := c.PutAction(ctx, "p/a", whisk.Update{Parameters: &next})
	if err != nil {
		t.Fatal(err)
	}
	if !put.Parameters.Equal(next) || !whisk.Follows(a.Version, put.Version) {
		t.Errorf("answer: version %s after %s, parameters %v", put.Version, a.Version, put.Parameters.Keys())
	}
	wantOwn(t, s, "actions", "p/a", `[{"key":"B","value":21},{"key":"E","value":"x","init":true}]`)
	if got, _ := s.Snapshot("actions", "p/a"); got.Code != "code" {
		t.Error("the code is gone")
	}
}

func TestBindingInheritsNothing(t *testing.T) {
	s, c := serve(t, whisktest.Options{})
	example(s)
	ctx := t.Context()
	q, err := c.GetPackage(ctx, "q")
	if err != nil {
		t.Fatal(err)
	}
	if q.Binding != "guest/p" || len(q.Parameters) != 2 || !slices.Equal(q.Actions, []string{"a"}) {
		t.Fatalf("binding %q with %v and %v", q.Binding, q.Parameters.Keys(), q.Actions)
	}
	p, err := c.GetPackage(ctx, "p")
	if err != nil {
		t.Fatal(err)
	}
	next := q.Parameters.Own(p.Parameters).With(whisktest.Params(`[{"key":"A","value":101}]`))
	if _, err := c.PutPackage(ctx, "q", whisk.Update{Parameters: &next}); err != nil {
		t.Fatal(err)
	}
	wantOwn(t, s, "packages", "q", `[{"key":"A","value":101}]`)
	through, err := c.GetAction(ctx, "q/a")
	if err != nil || through.Binding != "guest/q" || through.Namespace != "guest/p" {
		t.Errorf("through the binding: %q in %q, %v", through.Binding, through.Namespace, err)
	}
	_, err = c.PutAction(ctx, "q/a", whisk.Update{})
	if whisk.Classify(err) != whisk.Permanent || !strings.Contains(err.Error(), "package binding") {
		t.Errorf("PUT below a binding: %v", err)
	}
}

func TestRefereeCatchesTheNaiveClient(t *testing.T) {
	for name, tc := range map[string]struct {
		want  string
		write func(ctx context.Context, s *whisktest.Server, c *whisk.Client, a whisk.Action) error
	}{
		"merged list": {"was inherited", func(ctx context.Context, _ *whisktest.Server, c *whisk.Client, a whisk.Action) error {
			_, err := c.PutAction(ctx, "p/a", whisk.Update{Parameters: &a.Parameters})
			return err
		}},
		"one parameter": {`"E" is lost`, func(ctx context.Context, _ *whisktest.Server, c *whisk.Client, _ whisk.Action) error {
			one := whisktest.Params(`[{"key":"B","value":21}]`)
			_, err := c.PutAction(ctx, "p/a", whisk.Update{Parameters: &one})
			return err
		}},
		"mark dropped": {"not its marks", func(ctx context.Context, _ *whisktest.Server, c *whisk.Client, _ whisk.Action) error {
			bare := whisktest.Params(`[{"key":"B","value":21},{"key":"E","value":"x"}]`)
			_, err := c.PutAction(ctx, "p/a", whisk.Update{Parameters: &bare})
			return err
		}},
		"stale": {"over version", func(ctx context.Context, s *whisktest.Server, c *whisk.Client, _ whisk.Action) error {
			same := whisktest.Params(`[{"key":"B","value":20},{"key":"E","value":"x","init":true}]`)
			s.Write("actions", "p/a", same)
			_, err := c.PutAction(ctx, "p/a", whisk.Update{Parameters: &same})
			return err
		}},
		"package annotations": {`annotation "team" is lost`, func(ctx context.Context, _ *whisktest.Server, c *whisk.Client, _ whisk.Action) error {
			if _, err := c.GetPackage(ctx, "p"); err != nil {
				return err
			}
			_, err := c.PutPackage(ctx, "p", whisk.Update{Annotations: []whisk.Annotation{{Key: "rotator", Value: []byte(`1`)}}})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := serve(t, whisktest.Options{})
			example(s)
			fouls := &recorder{}
			s.Referee(fouls)
			a, err := c.GetAction(t.Context(), "p/a")
			if err != nil {
				t.Fatal(err)
			}
			if err := tc.write(t.Context(), s, c, a); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(fouls.called, "\n"); !strings.Contains(got, tc.want) {
				t.Errorf("the referee called %q, want %q", got, tc.want)
			}
		})
	}
}

type recorder struct{ called []string }

func (*recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.called = append(r.called, fmt.Sprintf(format, args...))
}

func TestMarksAndRawValuesSurvive(t *testing.T) {
	const list = `[{"key":"D","value":1.50},{"key":"E","value":"<&>","init":true},{"key":"L","value":"bG9ja2Vk","encryption":"aes-128"},{"key":"N","value":{"b":1,"a":[1e5]},"init":true,"encryption":"aes-256"}]`
	s, c := serve(t, whisktest.Options{})
	s.Action("a", whisktest.Seed{Parameters: whisktest.Params(list)})
	a, err := c.GetAction(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutAction(t.Context(), "a", whisk.Update{Parameters: &a.Parameters}); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Snapshot("actions", "a"); string(got.Own.Encode()) != list {
		t.Errorf("came back as %s\nwant %s", got.Own.Encode(), list)
	}
}

func TestEncryptingHost(t *testing.T) {
	s, c := serve(t, whisktest.Options{Encryption: whisktest.Marked})
	s.Action("a", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"A","value":"old"},{"key":"E","value":"x","init":true}]`)})
	a, err := c.GetAction(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := a.Parameters.Get("E"); e.Encryption == "" || !e.Init {
		t.Fatalf("E came as init=%t encryption=%q", e.Init, e.Encryption)
	}
	next := a.Parameters.With(whisktest.Params(`[{"key":"A","value":"new"}]`))
	put, err := c.PutAction(t.Context(), "a", whisk.Update{Parameters: &next})
	if err != nil || !put.Parameters.Equal(next) {
		t.Fatalf("answer differs from what was sent: %v, %v", put.Parameters.Keys(), err)
	}
	got, _ := s.Snapshot("actions", "a")
	if !got.Plain.Equal(whisktest.Params(`[{"key":"A","value":"new"},{"key":"E","value":"x","init":true}]`)) {
		t.Error("a value is locked twice or lost")
	}
}

func TestHiddenValuesComeWithoutMark(t *testing.T) {
	s, c := serve(t, whisktest.Options{Encryption: whisktest.Hidden})
	s.Action("a", whisktest.Seed{Parameters: whisktest.Params(`[{"key":"A","value":"plain"}]`)})
	a, err := c.GetAction(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := a.Parameters.Get("A"); e.Encryption != "" || e.Value.Equal(secret.FromText("plain")) {
		t.Error("the value must be hidden and unmarked")
	}
}

func TestSequence(t *testing.T) {
	s, c := serve(t, whisktest.Options{})
	s.Action("a", whisktest.Seed{})
	s.Sequence("s", "a")
	a, err := c.GetAction(t.Context(), "s")
	if err != nil || !a.Sequence() || !slices.Equal(a.Components, []string{"/guest/a"}) {
		t.Fatalf("sequence %t, components %v, %v", a.Sequence(), a.Components, err)
	}
	next := whisktest.Params(`[{"key":"K","value":"v"}]`)
	put, err := c.PutAction(t.Context(), "s", whisk.Update{Parameters: &next})
	if err != nil || put.Parameters.Equal(next) || !whisk.Follows(a.Version, put.Version) {
		t.Errorf("the host answers 200, moves the version and ignores the parameters; got %v, %v", put.Parameters.Keys(), err)
	}
}

func TestMissing(t *testing.T) {
	s, c := serve(t, whisktest.Options{})
	ctx, list := t.Context(), whisktest.Params(`[]`)
	for what, err := range map[string]error{
		"action":  second(c.GetAction(ctx, "zz")),
		"package": second(c.GetPackage(ctx, "zz")),
		"trigger": second(c.GetTrigger(ctx, "zz")),
		"parent":  second(c.PutAction(ctx, "zz/a", whisk.Update{Parameters: &list})),
	} {
		if whisk.Classify(err) != whisk.NotFound {
			t.Errorf("%s: %v, want not found", what, err)
		}
	}
	_, err := c.PutAction(ctx, "zz", whisk.Update{Parameters: &list})
	if whisk.Classify(err) != whisk.Permanent || !strings.Contains(err.Error(), "exec undefined") {
		t.Errorf("PUT on a missing action: %v", err)
	}
	if _, err := c.PutPackage(ctx, "typo", whisk.Update{Parameters: &list}); err != nil {
		t.Errorf("PUT on a missing package: %v; the host creates it", err)
	}
	if _, err := c.PutTrigger(ctx, "typo2", whisk.Update{Parameters: &list}); err != nil {
		t.Errorf("PUT on a missing trigger: %v; the host creates it", err)
	}
	if _, there := s.Snapshot("packages", "typo"); !there {
		t.Error("the emulator must create a missing package")
	}
}

func second[T any](_ T, err error) error { return err }

func TestAnnotations(t *testing.T) {
	s, c := serve(t, whisktest.Options{}, whisktest.Note)
	example(s)
	ctx := t.Context()
	note := whisk.Update{Annotations: []whisk.Annotation{{Key: "rotator", Value: []byte(`{"v":1}`)}}}
	if _, err := c.GetAction(ctx, "p/a"); err != nil {
		t.Fatal(err)
	}
	a, err := c.PutAction(ctx, "p/a", note)
	if err != nil {
		t.Fatal(err)
	}
	if _, kept := a.Annotation("exec"); !kept || len(a.Annotations) != 3 {
		t.Errorf("annotations of an action are merged, got %v", a.Annotations)
	}
	wantOwn(t, s, "actions", "p/a", `[{"key":"B","value":20},{"key":"E","value":"x","init":true}]`)
	if _, err := c.GetPackage(ctx, "p"); err != nil {
		t.Fatal(err)
	}
	p, err := c.PutPackage(ctx, "p", note)
	if err != nil || len(p.Annotations) != 1 {
		t.Errorf("annotations of a package are replaced, got %v, %v", p.Annotations, err)
	}
	if text := fmt.Sprintf("%v %+v %s", a.Annotations, a.Annotations, a.Annotations); strings.Contains(text, `"v"`) {
		t.Errorf("an annotation prints its value: %s", text)
	}
}

func TestBodyHoldsNothingElse(t *testing.T) {
	s, c := serve(t, whisktest.Options{})
	example(s)
	ctx := t.Context()
	if _, err := c.GetTrigger(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	list := whisktest.Params(`[{"key":"B","value":10}]`)
	tr, err := c.PutTrigger(ctx, "t", whisk.Update{Parameters: &list})
	if err != nil || tr.Feed != "/whisk.system/alarms/alarm" {
		t.Fatalf("trigger: feed %q, %v", tr.Feed, err)
	}
	if _, err := c.Touch(ctx, "p/a"); err != nil {
		t.Fatal(err)
	}
	for _, r := range s.Requests() {
		for _, f := range r.Fields {
			if f != "parameters" && f != "annotations" {
				t.Errorf("%s %s sent %q", r.Method, r.Name, f)
			}
		}
	}
	wantOwn(t, s, "actions", "p/a", `[{"key":"B","value":20},{"key":"E","value":"x","init":true}]`)
}

func TestNamesAreCheckedAndEscaped(t *testing.T) {
	s, c := serve(t, whisktest.Options{})
	s.Package("a b&c", whisktest.Seed{})
	if p, err := c.GetPackage(t.Context(), "a b&c"); err != nil || p.Name != "a b&c" {
		t.Errorf("name with blanks: %v", err)
	}
	for _, name := range []string{"", "/", "p/", "p/a/b", "../x", "p/..", "a?x", "a#x", "/guest", "/guest/p", "//p"} {
		before := s.Count("", "")
		if err := second(c.Touch(t.Context(), name)); whisk.Classify(err) != whisk.Permanent || s.Count("", "") != before {
			t.Errorf("name %q: %v, and %d requests", name, err, s.Count("", "")-before)
		}
	}
}

func TestPublishedPackageOfAnotherNamespace(t *testing.T) {
	const other = "u:" + "0123456789012345678901234567890123456789012345678901234567890123"
	s := whisktest.New(whisktest.Options{Keys: map[string]string{whisktest.GuestKey: "guest", other: "owner"}, Namespace: "owner"})
	s.Package("open", whisktest.Seed{Publish: true, Parameters: whisktest.Params(`[{"key":"A","value":1}]`)})
	s.Package("shut", whisktest.Seed{})
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	c := client(t, srv.URL)
	if p, err := c.GetPackage(t.Context(), "/owner/open"); err != nil || len(p.Parameters) != 1 {
		t.Errorf("published package: %v", err)
	}
	if _, err := c.GetPackage(t.Context(), "/owner/shut"); whisk.Classify(err) != whisk.Permanent {
		t.Errorf("package that is not published: %v", err)
	}
	if _, err := c.PutPackage(t.Context(), "/owner/open", whisk.Update{}); whisk.Classify(err) != whisk.Permanent {
		t.Errorf("a write outside the namespace: %v", err)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	s := whisktest.New(whisktest.Options{})
	const n, parallel = 64, 16
	for i := range n {
		s.Action(fmt.Sprintf("a%d", i), whisktest.Seed{Code: strings.Repeat("x", 64<<10), Parameters: whisktest.Params(`[{"key":"K","value":"v"}]`)})
	}
	var conns atomic.Int32
	srv := httptest.NewUnstartedServer(s)
	srv.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	c := client(t, srv.URL)
	work := make(chan int)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for i := range work {
				name := fmt.Sprintf("a%d", i)
				a, err := c.GetAction(t.Context(), name)
				if err == nil {
					_, err = c.PutAction(t.Context(), name, whisk.Update{Parameters: &a.Parameters})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	// net/http may dial while another connection becomes free, so a few more are no mistake; one per request is.
	if got := conns.Load(); got > 2*parallel {
		t.Errorf("%d connections for %d requests by %d workers", got, 2*n, parallel)
	}
	if got := s.Count("", ""); got != 2*n {
		t.Errorf("%d requests for %d GET + PUT", got, n)
	}
}
