package proto_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/proto/wire"
)

func protocol(t *testing.T) string {
	t.Helper()
	p, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// constants gives the exported constants of a package whose names begin with prefix, or whose type is prefix.
func constants(t *testing.T, dir, prefix string) map[string]constant.Value {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
	}
	// Imports stay unresolved: constants need none but time, whose errors are passed over.
	conf := types.Config{Importer: noImports{}, Error: func(error) {}}
	pkg, _ := conf.Check(dir, fset, parsed, nil)
	out := map[string]constant.Value{}
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && c.Exported() {
			if named, ok := c.Type().(*types.Named); strings.HasPrefix(name, prefix) || ok && named.Obj().Name() == prefix {
				out[name] = c.Val()
			}
		}
	}
	if len(out) == 0 {
		t.Fatalf("no constants %s in %s", prefix, dir)
	}
	return out
}

type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	return nil, errors.New("not needed")
}

func TestProtocolNamesEveryCode(t *testing.T) {
	doc := protocol(t)
	_, list, _ := strings.Cut(doc, "\n## 6. Codes\n")
	list, _, _ = strings.Cut(list, "\n## ")
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(list, -1) {
		listed[m[1]] = true
	}
	for name, v := range constants(t, "code", "Code") {
		if c := constant.StringVal(v); !listed[c] {
			t.Errorf("code.%s, %s, is not in the list of codes", name, c)
		} else {
			delete(listed, c)
		}
	}
	for c := range listed {
		t.Errorf("%s is listed and is no code", c)
	}
}

func TestProtocolNamesEveryCloseCode(t *testing.T) {
	doc := protocol(t)
	rows := map[code.Close]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([0-9]{4}) \| .* \| (yes|no) \|$`).FindAllStringSubmatch(doc, -1) {
		n, _ := strconv.Atoi(m[1])
		rows[code.Close(n)] = m[2]
	}
	for name, v := range constants(t, "code", "Close") {
		n, _ := constant.Uint64Val(v)
		if rows[code.Close(n)] == "" {
			t.Errorf("code.%s, %d, is not in the table of close codes", name, n)
		}
	}
	for c, back := range rows {
		if c.ComeBack() != (back == "yes") {
			t.Errorf("close %d: come back %s", c, back)
		}
	}
}

func TestProtocolNamesEveryName(t *testing.T) {
	doc := protocol(t)
	want := []string{"GET " + session.PathWS, "GET " + session.PathTicks + "<symbol>", "GET " + session.PathSymbols, subject.Service,
		"ingest.<symbol>", "ticks.<symbol>", subject.Beat, "fanout.<region>.<bucket>", "interest.<region>", "router.<region>.beat",
		"router.<region>.newest", "registry.<region>.<endpoint>", subject.KeyLease, subject.KeyEpoch, "latest", "every"}
	want = append(want, session.Subprotocols[:]...)
	want = append(want, tick.Names[:]...)
	for dir, prefixes := range map[string][]string{"session": {"Op"}, "subject": {"Stream", "KV"}} {
		for _, prefix := range prefixes {
			for _, v := range constants(t, dir, prefix) {
				want = append(want, constant.StringVal(v))
			}
		}
	}
	for _, s := range want {
		if !strings.Contains(doc, "`"+s+"`") {
			t.Errorf("`%s` is not named", s)
		}
	}
	for name, v := range constants(t, "subject", "Endpoint") {
		if !regexp.MustCompile("(?m)^\\| `" + constant.StringVal(v) + "[`.]").MatchString(doc) {
			t.Errorf("%s has no row", name)
		}
	}
	for name, v := range constants(t, "wire", "Kind") {
		n, _ := constant.Uint64Val(v)
		if !regexp.MustCompile(fmt.Sprintf("(?m)^\\| %d \\| .* \\| `\\[%d, ", n, n)).MatchString(doc) {
			t.Errorf("wire.%s, %d, has no row with its layout", name, n)
		}
	}
	if n := len(constants(t, "wire", "Kind")); n != int(wire.KindNewestAnswer) {
		t.Errorf("%d kinds", n)
	}
}

// TestProtocolNamesEveryLimit wants a sentence of the text for each limit of the code, with its value from the code.
func TestProtocolNamesEveryLimit(t *testing.T) {
	doc := protocol(t)
	for limit, text := range map[string]string{
		"session.MaxMessage":     fmt.Sprintf("| message of a client | %d KB (%s bytes) |", session.MaxMessage>>10, thousands(session.MaxMessage)),
		"session.MaxSymbols":     fmt.Sprintf("| symbols on one connection | %s |", thousands(session.MaxSymbols)),
		"session.MaxUnpriced":    fmt.Sprintf("| symbols without a price on one connection | %d |", session.MaxUnpriced),
		"session.MaxRate":        fmt.Sprintf("| `max_rate` | 1 to %d |", session.MaxRate),
		"session.MaxNumber":      fmt.Sprintf("A number is from 1 to %d ", uint64(session.MaxNumber)),
		"session.MaxErrors":      fmt.Sprintf("| refused messages on one connection | %d |", session.MaxErrors),
		"tick.MaxDigits":         fmt.Sprintf("| digits of a decimal | %d, at most %d of them after the point |", tick.MaxDigits, tick.MaxFraction),
		"tick.MaxFraction":       fmt.Sprintf("at most %d digits, at most %d of them after the point", tick.MaxDigits, tick.MaxFraction),
		"tick.MaxQuotePayload":   fmt.Sprintf("| payload of a publisher | %d KB (%s bytes) |", tick.MaxQuotePayload>>10, thousands(tick.MaxQuotePayload)),
		"tick.MaxAhead":          fmt.Sprintf("| `ts` ahead of ingest's clock | %d minute |", tick.MaxAhead/time.Minute),
		"tick.MaxRange":          fmt.Sprintf("| ticks of one range | %s |", thousands(tick.MaxRange)),
		"tick.MaxPayload":        fmt.Sprintf("| one message of an answer, one batch | %d KB (%s bytes) |", tick.MaxPayload>>10, thousands(tick.MaxPayload)),
		"control.MaxPartSymbols": fmt.Sprintf("| symbols of one part of a bucket | %s |", thousands(control.MaxPartSymbols)),
	} {
		if !strings.Contains(doc, text) {
			t.Errorf("%s: the text does not say %q", limit, text)
		}
		dir, name, _ := strings.Cut(limit, ".")
		if _, ok := constants(t, dir, "Max")[name]; !ok {
			t.Errorf("%s is gone", limit)
		}
	}
	known := 0
	for _, dir := range []string{"session", "tick", "control"} {
		known += len(constants(t, dir, "Max"))
	}
	if known != 13 {
		t.Errorf("proto has %d limits, this test 13", known)
	}
	if want := fmt.Sprintf("`BTC-USD` is in part %d", subject.Part("BTC-USD")); !strings.Contains(doc, want) {
		t.Errorf("the text does not say %q", want)
	}
	if want := fmt.Sprintf("modulo %d", subject.Parts); !strings.Contains(doc, want) {
		t.Errorf("the text does not say %q", want)
	}
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// exactly decodes JSON into T and back: a field that T does not have, or a value in another form, is an error.
func exactly[T any](line []byte) error {
	var v T
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one value")
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	if again := bytes.TrimSpace(buf.Bytes()); !bytes.Equal(again, line) {
		return fmt.Errorf("comes back as %s", again)
	}
	return nil
}

// httpTick is a tick as HTTP gives it: a message without op.
func httpTick(line []byte) error {
	m, err := session.DecodeMessage(session.JSON, bytes.Replace(line, []byte("{"), []byte(`{"op":"tick",`), 1))
	if err != nil {
		return err
	}
	t := tick.Tick{Symbol: m.Symbol, Position: tick.Position{Epoch: m.Epoch, Seq: m.Seq}, Quote: m.Quote()}
	if again := session.AppendTickJSON(nil, &t); !bytes.Equal(again, line) {
		return fmt.Errorf("comes back as %s", again)
	}
	return nil
}

// examples checks one line of a JSON block by the word beside "json".
var examples = map[string]func(line []byte) error{
	"http-tick": httpTick,
	"http-symbols": exactly[struct {
		Symbols []subject.Symbol `json:"symbols"`
	}],
	"http-range": func(line []byte) error {
		list, ok := bytes.CutPrefix(line, []byte(`{"ticks":[`))
		list, ok2 := bytes.CutSuffix(list, []byte(`]}`))
		if !ok || !ok2 {
			return errors.New("no list of ticks")
		}
		for one := range bytes.SplitSeq(list, []byte("},{")) {
			one = append(append([]byte{'{'}, bytes.Trim(one, "{}")...), '}')
			if err := httpTick(one); err != nil {
				return err
			}
		}
		return nil
	},
	"http-error": exactly[struct {
		Error *code.Error `json:"error"`
	}],
	"ingest": func(line []byte) error {
		_, err := tick.ParseQuote(line, time.UnixMicro(1763769600123456))
		return err
	},
	"IngestAnswer": exactly[control.IngestAnswer],
	"InterestRequest": func(line []byte) error {
		var r control.InterestRequest
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		return errors.Join(r.Validate(), exactly[control.InterestRequest](line))
	},
	"InterestAnswer": exactly[control.InterestAnswer],
	"Heartbeat": func(line []byte) error {
		var h control.Heartbeat
		if err := json.Unmarshal(line, &h); err != nil {
			return err
		}
		return errors.Join(h.Validate(), exactly[control.Heartbeat](line))
	},
	"HeartbeatAnswer": exactly[control.HeartbeatAnswer],
	"LocateAnswer":    exactly[control.LocateAnswer],
	"DrainAnswer":     exactly[control.DrainAnswer],
	"EdgesAnswer":     exactly[control.EdgesAnswer],
	"BucketsAnswer":   exactly[control.BucketsAnswer],
	"SymbolAnswer":    exactly[control.SymbolAnswer],
	"Lease":           exactly[control.Lease],
	"PartValue": func(line []byte) error {
		_, err := control.DecodePart(subject.Part("BTC-USD"), line)
		return errors.Join(err, exactly[control.PartValue](line))
	},
	"LeaderLease": exactly[control.LeaderLease],
	"LeaderEpoch": exactly[control.LeaderEpoch],
}

func TestProtocolExamplesDecode(t *testing.T) {
	blocks := regexp.MustCompile("(?s)\n```([^\n]*)\n(.*?)\n```").FindAllStringSubmatch(protocol(t), -1)
	ops, seen := map[string]bool{}, map[string]bool{}
	for _, b := range blocks {
		lines := strings.Split(b[2], "\n")
		word, isJSON := strings.CutPrefix(b[1], "json ")
		seen[word] = true
		switch {
		case isJSON && word == "client":
			dialogue(t, lines, ops)
		case isJSON && examples[word] != nil:
			for _, l := range lines {
				if err := examples[word]([]byte(l)); err != nil {
					t.Errorf("%s: %s: %v", word, l, err)
				}
			}
		case strings.Contains(b[2], "{"):
			t.Errorf("a block %q that nobody checks: %s", b[1], b[2])
		}
	}
	for word := range examples {
		if !seen[word] {
			t.Errorf("no example of %s", word)
		}
	}
	for name, v := range constants(t, "session", "Op") {
		if !ops[constant.StringVal(v)] {
			t.Errorf("no example of %s", name)
		}
	}
}

// TestProtocolCompactBytes holds the example that is worked through byte by byte to the one in the vectors.
func TestProtocolCompactBytes(t *testing.T) {
	p, err := os.ReadFile("vectors/compact.json")
	if err != nil {
		t.Fatal(err)
	}
	var connections []struct {
		Name     string
		Messages []struct{ Hex string }
	}
	if err := json.Unmarshal(p, &connections); err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, b := range regexp.MustCompile("(?s)\n```([^\n]*)\n(.*?)\n```").FindAllStringSubmatch(protocol(t), -1) {
		var bytes strings.Builder
		for _, m := range regexp.MustCompile(`(?m)^[0-9a-f]{2}(?: [0-9a-f]{2})*(?:  |$)`).FindAllString(b[2], -1) {
			bytes.WriteString(strings.ReplaceAll(m, " ", ""))
		}
		if bytes.Len() > 0 {
			got = append(got, bytes.String())
		}
	}
	for _, m := range connections[0].Messages[1:] { // after subscribed
		want = append(want, m.Hex)
	}
	if connections[0].Name != "the example of PROTOCOL.md" || !slices.Equal(got, want) {
		t.Errorf("%s: the text has %q, the vectors %q", connections[0].Name, got, want)
	}
}

// dialogue checks what a client says ("> ") and an edge answers ("< "). A request that is refused must be followed by
// exactly the error that it gets.
func dialogue(t *testing.T, lines []string, ops map[string]bool) {
	t.Helper()
	for i, l := range lines {
		said := []byte(l[2:])
		switch {
		case strings.HasPrefix(l, "> "):
			r, err := session.DecodeRequest(session.JSON, said)
			if err != nil {
				e := code.Of(err)
				m := session.Message{Op: session.OpError, ID: r.ID, Code: e.Code, Message: e.Message}
				if want := "< " + string(m.Append(session.JSON, nil)); i+1 == len(lines) || lines[i+1] != want {
					t.Errorf("%s is refused:\n%s", l, want)
				}
				continue
			}
			ops[r.Op] = true
		case strings.HasPrefix(l, "< "):
			m, err := session.DecodeMessage(session.JSON, said)
			if again := m.Append(session.JSON, nil); err != nil || !slices.Equal(again, said) {
				t.Errorf("%s: %v, comes back as %s", l, err, again)
			}
			ops[m.Op] = true
		default:
			t.Errorf("%q is neither said nor answered", l)
		}
	}
}

// TestProtocolLinks follows the links inside the text.
func TestProtocolLinks(t *testing.T) {
	doc := protocol(t)
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^#+ (.*)$").FindAllStringSubmatch(doc, -1) {
		a := strings.ToLower(m[1])
		a = regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(a, "")
		anchors[strings.ReplaceAll(a, " ", "-")] = true
	}
	for _, m := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(doc, -1) {
		if a, inside := strings.CutPrefix(m[1], "#"); inside {
			if !anchors[a] {
				t.Errorf("no heading #%s", a)
			}
		} else if _, err := os.Stat(m[1]); err != nil {
			t.Error(err)
		}
	}
}
