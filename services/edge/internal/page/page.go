package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"

	"github.com/tickfan/tickfan/proto/code"
)

//go:embed files
var files embed.FS

// index is the file at /; every other file is at /page/<name>.
const index = "index.html"

// contentTypes is a list of our own: that of package mime changes with the machine's /etc/mime.types.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// policy allows the page its own files and its own edge, which 'self' means for WebSocket too. Markup is never built
// from text (trusted types), so a symbol or a message of the edge cannot become a script.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// file is one file, ready to be sent.
type file struct {
	name, contentType, etag string
	body                    []byte
}

// Handler serves the page at / and its files below /page/, to GET and HEAD; all else is refused with a code. Mount it
// where no other pattern matches ("/" or "GET /").
func Handler() http.Handler {
	byPath := make(map[string]*file)
	err := fs.WalkDir(files, "files", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := files.ReadFile(p)
		if err != nil {
			return err
		}
		f := &file{name: path.Base(p), contentType: contentTypes[path.Ext(p)], body: body}
		if f.contentType == "" {
			return fmt.Errorf("%s: no content type for it", p)
		}
		sum := sha256.Sum256(body)
		f.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
		if f.name == index {
			byPath["/"] = f
		} else {
			byPath["/page/"+f.name] = f
		}
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("page: read embedded files: %v", err)) // the binary was built without what its test checks
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := byPath[r.URL.Path]
		switch {
		case f == nil:
			refuse(w, http.StatusNotFound, code.Errorf(code.NotFound, "no such path; the page is at /, the protocol at /v1/"))
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, code.Errorf(code.MethodNotAllowed, "%s: only GET and HEAD", code.Quote(r.Method)))
		default:
			f.serve(w, r)
		}
	})
}

// serve lets a browser keep the file but ask each time: a page of one version with a script of another would be worse
// than a request that is answered 304.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", f.etag)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.body))
}

func refuse(w http.ResponseWriter, status int, e *code.Error) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]*code.Error{"error": e}) // the status is out; a failed write is a client gone
}
