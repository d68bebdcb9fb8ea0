package subject

import (
	"errors"
	"hash/fnv"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/proto/code"
)

func wantCode(t *testing.T, err error, want code.Code) {
	t.Helper()
	var e *code.Error
	if !errors.As(err, &e) || e.Code != want {
		t.Errorf("error %v, want code %s", err, want)
	}
}

func TestParseSymbol(t *testing.T) {
	for _, s := range []string{"A", "BTC-USD", "0", "-", "_", "1000SHIB_USDT-PERP", strings.Repeat("Z", 32)} {
		if got, err := ParseSymbol(s); err != nil || string(got) != s {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "btc-usd", "BTC.USD", "BTC USD", "BTC/USD", "BTC-USD\n", "BTC>", "*", "ÄTH", strings.Repeat("Z", 33)} {
		_, err := ParseSymbol(s)
		wantCode(t, err, code.BadSymbol)
	}
}

func TestParseRegionAndEdgeName(t *testing.T) {
	for _, s := range []string{"local", "eu-west-1", "0", strings.Repeat("z", 32)} {
		if r, err := ParseRegion(s); err != nil || string(r) != s {
			t.Errorf("region %q: %q, %v", s, r, err)
		}
		if n, err := ParseEdgeName(s); err != nil || n != s {
			t.Errorf("name %q: %q, %v", s, n, err)
		}
	}
	for _, s := range []string{"", "EU", "eu.west", "eu_west", "eu west", strings.Repeat("z", 33)} {
		_, err := ParseRegion(s)
		wantCode(t, err, code.BadRegion)
		_, err = ParseEdgeName(s)
		wantCode(t, err, code.BadName)
	}
}

func TestParseEdge(t *testing.T) {
	for _, s := range []string{"edge-ab12cd", "a-000000", "my-edge-zzzzzz", strings.Repeat("n", 32) + "-abcdef"} {
		if e, err := ParseEdge(s); err != nil || string(e) != s {
			t.Errorf("%q: %q, %v", s, e, err)
		}
	}
	for _, s := range []string{"", "edge", "-ab12cd", "edge-ab12c", "edge-ab12cde", "edge-AB12CD", "Edge-ab12cd", "edge-ab-2cd", "edge.ab12cd",
		"edgeab12cd", strings.Repeat("n", 33) + "-abcdef"} {
		_, err := ParseEdge(s)
		wantCode(t, err, code.BadName)
	}
}

func TestBucket(t *testing.T) {
	for _, n := range []int{0, 1, 12, 1000} {
		b := NewBucket("edge-ab12cd", n)
		got, err := ParseBucket(string(b))
		if err != nil || got != b || b.Edge() != "edge-ab12cd" {
			t.Errorf("%q: %q of %q, %v", b, got, b.Edge(), err)
		}
	}
	for _, s := range []string{"", "-", "edge-ab12cd", "edge-ab12cd-", "edge-ab12cd-x", "edge-ab12cd-01", "edge-ab12cd-+1", "edge-ab12cd--1", "ab12cd-1",
		"edge-ab12cd.1", "edge-ab12cd-99999999999999999999"} {
		_, err := ParseBucket(s)
		wantCode(t, err, code.BadBucket)
	}
}

func TestPartIsFNV1a(t *testing.T) {
	seen := map[int]bool{}
	for _, s := range []Symbol{"A", "BTC-USD", "ETH-USD", "SOL-USD", "1000SHIB_USDT", "EUR-USD", "X_Y-Z", "DOGE-EUR", "ADA-USD"} {
		h := fnv.New32a()
		h.Write([]byte(s))
		if got, want := Part(s), int(h.Sum32()%Parts); got != want {
			t.Errorf("part of %s: %d, want %d", s, got, want)
		}
		seen[Part(s)] = true
	}
	if len(seen) < 4 {
		t.Errorf("nine symbols in %d parts", len(seen))
	}
}

func TestInterestKey(t *testing.T) {
	for part := range Parts {
		b, p, ok := ParseInterestKey(InterestKey("edge-ab12cd-0", part))
		if !ok || b != "edge-ab12cd-0" || p != part {
			t.Errorf("part %d: %q %d %v", part, b, p, ok)
		}
	}
	for _, k := range []string{"", "edge-ab12cd-0", "edge-ab12cd-0.", "edge-ab12cd-0.16", "edge-ab12cd-0.01", "edge-ab12cd-0.-1", "edge.1", ".1", "edge-ab12cd-0.1.1"} {
		if b, p, ok := ParseInterestKey(k); ok {
			t.Errorf("%q taken as %q %d", k, b, p)
		}
	}
}

func TestSubjectsAreAsDocumented(t *testing.T) {
	for got, want := range map[string]string{
		Ingest("BTC-USD"):                         "ingest.BTC-USD",
		Ticks("BTC-USD"):                          "ticks.BTC-USD",
		Fanout("eu", "edge-ab12cd-0"):             "fanout.eu.edge-ab12cd-0",
		RouterBeat("eu"):                          "router.eu.beat",
		RouterNewest("eu"):                        "router.eu.newest",
		Interest("eu"):                            "interest.eu",
		Registry("eu", EndpointHeartbeat):         "registry.eu.heartbeat",
		InterestKey(NewBucket("e-abcdef", 3), 15): "e-abcdef-3.15",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"BTC-USD", "edge-ab12cd", "edge-ab12cd-0", "edge-ab12cd-0.15", "", "-", "a.b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := ParseBucket(s); err == nil {
			if _, err := ParseEdge(string(b.Edge())); err != nil {
				t.Errorf("bucket %q of edge %q: %v", s, b.Edge(), err)
			}
		}
		if b, part, ok := ParseInterestKey(s); ok && InterestKey(b, part) != s {
			t.Errorf("key %q comes back as %q", s, InterestKey(b, part))
		}
		for _, name := range []func(string) error{
			func(s string) error { _, err := ParseSymbol(s); return err },
			func(s string) error { _, err := ParseRegion(s); return err },
			func(s string) error { _, err := ParseEdge(s); return err },
			func(s string) error { _, err := ParseBucket(s); return err },
		} {
			if name(s) == nil && (s == "" || strings.ContainsAny(s, ".*> \t\r\n\x00")) {
				t.Errorf("%q is no token of a subject", s)
			}
		}
	})
}
