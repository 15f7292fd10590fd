package whisk_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/rotator/whisk"
	"github.com/openwhisk-rotator/rotator/rotator/whisk/whisktest"
)

// BenchmarkGetPut compares one GET and one PUT with what bare net/http needs for the same bytes; "ratio" is
// how many times as long the client takes.
func BenchmarkGetPut(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("code=%dKiB", size>>10), func(b *testing.B) {
			s := whisktest.New(whisktest.Options{})
			s.Action("a", whisktest.Seed{Code: strings.Repeat("x", size), Parameters: whisktest.Params(`[{"key":"A","value":"v"},{"key":"B","value":"w"}]`)})
			srv := httptest.NewServer(s)
			defer srv.Close()
			c, err := whisk.New(whisk.Config{APIHost: srv.URL, Auth: whisk.Basic(guest)})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			var ours, bare time.Duration
			for b.Loop() {
				start := time.Now()
				a, err := c.GetAction(b.Context(), "a")
				if err == nil {
					_, err = c.PutAction(b.Context(), "a", whisk.Update{Parameters: &a.Parameters})
				}
				ours += time.Since(start)
				if err != nil {
					b.Fatal(err)
				}
				start = time.Now()
				bareGetPut(b, srv.URL)
				bare += time.Since(start)
			}
			b.ReportMetric(float64(ours)/float64(bare), "ratio")
		})
	}
}

func bareGetPut(b *testing.B, address string) {
	user, pass, _ := strings.Cut(whisktest.GuestKey, ":")
	do := func(method, query, body string) []byte {
		req, err := http.NewRequestWithContext(b.Context(), method, address+"/api/v1/namespaces/_/actions/a?"+query, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.SetBasicAuth(user, pass)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status, err)
		}
		return raw
	}
	var a struct{ Parameters json.RawMessage }
	if err := json.Unmarshal(do(http.MethodGet, "code=false", ""), &a); err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(do(http.MethodPut, "overwrite=true", `{"parameters":`+string(a.Parameters)+`}`), &a); err != nil {
		b.Fatal(err)
	}
}
