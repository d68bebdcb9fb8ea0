package page_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/services/edge/internal/page"
)

func request(t *testing.T, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	page.Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestEveryFileIsServed follows what the page names, and what the scripts import, until nothing new comes up.
func TestEveryFileIsServed(t *testing.T) {
	names := regexp.MustCompile(`(?:href|src)="([^"#]+)"|from '(\./[^']+)'`)
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", "": "text/html; charset=utf-8"}
	todo, seen := []string{"/"}, map[string]bool{}
	for len(todo) > 0 {
		p := todo[0]
		todo = todo[1:]
		if seen[p] {
			continue
		}
		seen[p] = true
		r := request(t, http.MethodGet, p)
		if r.StatusCode != http.StatusOK {
			t.Errorf("GET %s: %s", p, r.Status)
			continue
		}
		if got, want := r.Header.Get("Content-Type"), types[path.Ext(p)]; got != want {
			t.Errorf("GET %s: Content-Type %q, want %q", p, got, want)
		}
		for _, m := range names.FindAllStringSubmatch(body(t, r), -1) {
			name := m[1] + m[2]
			if strings.Contains(name, "//") {
				t.Errorf("%s names %s: everything must come from the edge itself", p, name)
				continue
			}
			todo = append(todo, path.Join(path.Dir(p), name))
		}
	}
	for _, p := range []string{"/", "/page/main.js", "/page/style.css", "/page/icon.svg", "/page/decimal.js"} {
		if !seen[p] {
			t.Errorf("the page does not lead to %s", p)
		}
	}
}

// TestPreloads: a script that is imported but not preloaded costs a round trip more at each start.
func TestPreloads(t *testing.T) {
	html := body(t, request(t, http.MethodGet, "/"))
	var preloaded []string
	for _, m := range regexp.MustCompile(`modulepreload" href="page/([^"]+)"`).FindAllStringSubmatch(html, -1) {
		preloaded = append(preloaded, m[1])
	}
	imports := regexp.MustCompile(`from '\./([^']+)'`)
	imported := map[string]bool{}
	for _, name := range append([]string{"main.js"}, preloaded...) {
		for _, m := range imports.FindAllStringSubmatch(body(t, request(t, http.MethodGet, "/page/"+name)), -1) {
			imported[m[1]] = true
			if !slices.Contains(preloaded, m[1]) {
				t.Errorf("%s imports %s, which is not preloaded", name, m[1])
			}
		}
	}
	for _, name := range preloaded {
		if !imported[name] {
			t.Errorf("%s is preloaded and nothing imports it", name)
		}
	}
}

func TestHeaders(t *testing.T) {
	for _, p := range []string{"/", "/page/main.js"} {
		h := request(t, http.MethodGet, p).Header
		for _, rule := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(h.Get("Content-Security-Policy"), rule) {
				t.Errorf("GET %s: Content-Security-Policy %q lacks %q", p, h.Get("Content-Security-Policy"), rule)
			}
		}
		if strings.Contains(h.Get("Content-Security-Policy"), "unsafe") {
			t.Errorf("GET %s: Content-Security-Policy allows something unsafe", p)
		}
		if got := h.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("GET %s: X-Content-Type-Options %q", p, got)
		}
		if got := h.Get("Cache-Control"); got != "no-cache" {
			t.Errorf("GET %s: Cache-Control %q", p, got)
		}
	}
}

func TestCaching(t *testing.T) {
	page, script := request(t, http.MethodGet, "/"), request(t, http.MethodGet, "/page/main.js")
	tag := page.Header.Get("ETag")
	if tag == "" || tag == script.Header.Get("ETag") {
		t.Fatalf("ETags %q and %q: want two", tag, script.Header.Get("ETag"))
	}
	if r := request(t, http.MethodGet, "/", "If-None-Match", tag); r.StatusCode != http.StatusNotModified || body(t, r) != "" {
		t.Errorf("GET with the ETag: %s, want 304 and no body", r.Status)
	}
	if r := request(t, http.MethodGet, "/", "If-None-Match", `"another"`); r.StatusCode != http.StatusOK {
		t.Errorf("GET with another ETag: %s, want 200", r.Status)
	}
}

func TestHead(t *testing.T) {
	get, head := request(t, http.MethodGet, "/"), request(t, http.MethodHead, "/")
	if head.StatusCode != http.StatusOK || body(t, head) != "" {
		t.Errorf("HEAD /: %s with a body of %d bytes", head.Status, len(body(t, head)))
	}
	for _, name := range []string{"Content-Length", "Content-Type", "ETag"} {
		if head.Header.Get(name) != get.Header.Get(name) {
			t.Errorf("%s: HEAD says %q, GET %q", name, head.Header.Get(name), get.Header.Get(name))
		}
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		method, target string
		status         int
		code           code.Code
	}{
		{http.MethodPost, "/", http.StatusMethodNotAllowed, code.MethodNotAllowed},
		{http.MethodDelete, "/page/main.js", http.StatusMethodNotAllowed, code.MethodNotAllowed},
		{http.MethodGet, "/index.html", http.StatusNotFound, code.NotFound},
		{http.MethodGet, "/page/", http.StatusNotFound, code.NotFound},
		{http.MethodGet, "/page/../page.go", http.StatusNotFound, code.NotFound},
		{http.MethodGet, "/favicon.ico", http.StatusNotFound, code.NotFound},
		{http.MethodPost, "/nothing", http.StatusNotFound, code.NotFound},
	} {
		r := request(t, c.method, c.target)
		var answer struct{ Error code.Error }
		if err := json.Unmarshal([]byte(body(t, r)), &answer); err != nil {
			t.Errorf("%s %s: body is not JSON: %v", c.method, c.target, err)
		}
		if r.StatusCode != c.status || answer.Error.Code != c.code || answer.Error.Message == "" {
			t.Errorf("%s %s: %d %s %q, want %d %s", c.method, c.target, r.StatusCode, answer.Error.Code, answer.Error.Message, c.status, c.code)
		}
		if allow := r.Header.Get("Allow"); (c.status == http.StatusMethodNotAllowed) != (allow == "GET, HEAD") {
			t.Errorf("%s %s: Allow %q", c.method, c.target, allow)
		}
	}
}
