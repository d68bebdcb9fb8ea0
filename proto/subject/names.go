package subject

import (
	"strconv"
	"strings"

	"github.com/tickfan/tickfan/proto/code"
)

// Symbol is a traded pair, e.g. BTC-USD: 1 to 32 of A-Z 0-9 - _.
type Symbol string

// Region is a place with NATS servers and edges of its own, e.g. eu: 1 to 32 of a-z 0-9 -.
type Region string

// Edge is one run of an edge process: its name, "-" and 6 of a-z 0-9 made at start, so that no id is used twice.
type Edge string

// Bucket is one worker of one edge: <edge id>-<n>. A bucket belongs to its edge for ever.
type Bucket string

const maxName = 32

// ParseSymbol checks a symbol. The error has code bad_symbol.
func ParseSymbol(s string) (Symbol, error) {
	if !ValidSymbol(s) {
		return "", code.Errorf(code.BadSymbol, "symbol %s: 1 to 32 of A-Z 0-9 - _", code.Quote(s))
	}
	return Symbol(s), nil
}

// ValidSymbol tells whether s is a symbol.
func ValidSymbol[T ~string | ~[]byte](s T) bool {
	if len(s) == 0 || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// ParseRegion checks a region. The error has code bad_region.
func ParseRegion(s string) (Region, error) {
	if !validLower(s, maxName) {
		return "", code.Errorf(code.BadRegion, "region %s: 1 to 32 of a-z 0-9 -", code.Quote(s))
	}
	return Region(s), nil
}

// ParseEdgeName checks the name that an edge is given, before its id is made of it. The error has code bad_name.
func ParseEdgeName(s string) (string, error) {
	if !validLower(s, maxName) {
		return "", code.Errorf(code.BadName, "name %s: 1 to 32 of a-z 0-9 -", code.Quote(s))
	}
	return s, nil
}

const edgeSuffix = 6

// ParseEdge checks an edge id. The error has code bad_name.
func ParseEdge(s string) (Edge, error) {
	i := len(s) - edgeSuffix - 1
	if i < 1 || s[i] != '-' || !validLower(s[:i], maxName) || !validLower(s[i+1:], edgeSuffix) || strings.Contains(s[i+1:], "-") {
		return "", code.Errorf(code.BadName, "edge %s: <name>-<6 of a-z 0-9>", code.Quote(s))
	}
	return Edge(s), nil
}

// NewBucket is bucket n of an edge, n from 0.
func NewBucket(e Edge, n int) Bucket { return Bucket(string(e) + "-" + strconv.Itoa(n)) }

// ParseBucket checks a bucket. The error has code bad_bucket.
func ParseBucket(s string) (Bucket, error) {
	i := strings.LastIndexByte(s, '-')
	if i > 0 {
		n, err := strconv.Atoi(s[i+1:])
		if _, eerr := ParseEdge(s[:i]); err == nil && n >= 0 && strconv.Itoa(n) == s[i+1:] && eerr == nil {
			return Bucket(s), nil
		}
	}
	return "", code.Errorf(code.BadBucket, "bucket %s: <edge id>-<number>", code.Quote(s))
}

// Edge is the edge that holds the bucket. The bucket must be valid.
func (b Bucket) Edge() Edge { return Edge(b[:strings.LastIndexByte(string(b), '-')]) }

func validLower(s string, most int) bool {
	if len(s) == 0 || len(s) > most {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}
