package vectors_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the files anew")

// golden compares v with a file, or writes the file, and then reads it into what the test checks: the file is what
// counts, since others read it.
func golden[T any](t *testing.T, name string, v T) T {
	t.Helper()
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(name, buf.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p, buf.Bytes()) {
		t.Errorf("%s is not what the code makes: a change of the protocol? Look at the difference after: go test ./vectors -run Vectors -update", name)
	}
	var out T
	if err := json.Unmarshal(p, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
