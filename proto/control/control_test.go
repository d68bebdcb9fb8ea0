package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/wire"
)

const bucket subject.Bucket = "edge-ab12cd-0"

// inPart makes n symbols of one part.
func inPart(part, n int) Set {
	s := Set{}
	for i := 0; len(s) < n; i++ {
		if sym := subject.Symbol(fmt.Sprintf("S%d-USD", i)); subject.Part(sym) == part {
			s[sym] = Latest
		}
	}
	return s
}

func TestSetValidate(t *testing.T) {
	part := subject.Part("BTC-USD")
	for name, c := range map[string]struct {
		set  Set
		want code.Code
	}{
		"nil":          {nil, ""},
		"latest":       {Set{"BTC-USD": Latest}, ""},
		"every":        {Set{"BTC-USD": Every}, ""},
		"full":         {inPart(part, MaxPartSymbols), ""},
		"too many":     {inPart(part, MaxPartSymbols+1), code.TooMuchInterest},
		"flag":         {Set{"BTC-USD": "often"}, code.BadMode},
		"no flag":      {Set{"BTC-USD": ""}, code.BadMode},
		"symbol":       {Set{"btc-usd": Latest}, code.BadSymbol},
		"another part": {inPart((part+1)%subject.Parts, 1), code.BadMessage},
	} {
		err := c.set.Validate(part)
		if (err == nil) != (c.want == "") || err != nil && code.Of(err).Code != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestInterestRequestValidate(t *testing.T) {
	part := subject.Part("BTC-USD")
	good := func() InterestRequest {
		return InterestRequest{Bucket: bucket, Number: 1, Parts: map[int]Set{part: {"BTC-USD": Every}}}
	}
	for name, c := range map[string]struct {
		mod  func(*InterestRequest)
		want code.Code
	}{
		"good":      {func(*InterestRequest) {}, ""},
		"emptied":   {func(r *InterestRequest) { r.Parts[part] = nil }, ""},
		"bucket":    {func(r *InterestRequest) { r.Bucket = "edge" }, code.BadBucket},
		"number 0":  {func(r *InterestRequest) { r.Number = 0 }, code.BadMessage},
		"no parts":  {func(r *InterestRequest) { r.Parts = nil }, code.BadMessage},
		"part 16":   {func(r *InterestRequest) { r.Parts[subject.Parts] = Set{} }, code.BadMessage},
		"part -1":   {func(r *InterestRequest) { r.Parts[-1] = Set{} }, code.BadMessage},
		"bad entry": {func(r *InterestRequest) { r.Parts[part]["x"] = Latest }, code.BadSymbol},
	} {
		r := good()
		c.mod(&r)
		if err := r.Validate(); (err == nil) != (c.want == "") || err != nil && code.Of(err).Code != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	r := good()
	p, err := json.Marshal(r)
	var back InterestRequest
	if err != nil || json.Unmarshal(p, &back) != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("%s comes back as %+v", p, back)
	}
}

func TestHeartbeatValidate(t *testing.T) {
	for name, c := range map[string]struct {
		h    Heartbeat
		want code.Code
	}{
		"good":           {Heartbeat{Edge: "edge-ab12cd", Buckets: []BucketSnapshot{{Bucket: bucket}}}, ""},
		"edge":           {Heartbeat{Edge: "edge"}, code.BadName},
		"bucket":         {Heartbeat{Edge: "edge-ab12cd", Buckets: []BucketSnapshot{{Bucket: "x"}}}, code.BadBucket},
		"another's":      {Heartbeat{Edge: "edge-ab12ce", Buckets: []BucketSnapshot{{Bucket: bucket}}}, code.BadBucket},
		"another's name": {Heartbeat{Edge: "edge-ab12cd", Buckets: []BucketSnapshot{{Bucket: "edge-ab12cd-ab12cd-0"}}}, code.BadBucket},
	} {
		if err := c.h.Validate(); (err == nil) != (c.want == "") || err != nil && code.Of(err).Code != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func announcement() Announcement {
	part := subject.Part("BTC-USD")
	set := inPart(part, 3)
	set["BTC-USD"] = Every
	return Announcement{Bucket: bucket, Part: part, PartValue: PartValue{Number: 300, Symbols: set}}
}

func TestAnnouncementRoundTrip(t *testing.T) {
	in := announcement()
	p := in.Append(nil)
	out, err := DecodeAnnouncement(p)
	if err != nil || !reflect.DeepEqual(out, in) {
		t.Errorf("%+v, %v\nwant %+v", out, err, in)
	}
	for range 20 { // whatever order the map has
		if again := in.Append(nil); string(again) != string(p) {
			t.Fatal("the same announcement has other bytes")
		}
	}
	for cut := range p {
		if _, err := DecodeAnnouncement(p[:cut]); err == nil {
			t.Errorf("decodes from %d of %d bytes", cut, len(p))
		}
	}
	clear(p)
	if !reflect.DeepEqual(out, in) {
		t.Error("changed with the payload")
	}
}

func TestDecodeAnnouncementRefuses(t *testing.T) {
	huge := wire.AppendUint(wire.AppendArray(nil, 5), uint64(wire.KindInterest))
	huge = wire.AppendUint(wire.AppendUint(wire.AppendStr(huge, bucket), 1), 1)
	huge = append(wire.AppendMap(huge, 1<<20), make([]byte, 2<<20)...)
	for name, c := range map[string]struct {
		p    []byte
		says string
	}{
		"huge":   {huge, "4096 or fewer"},
		"bucket": {(&Announcement{Bucket: "x"}).Append(nil), "bad_bucket"},
		"part":   {(&Announcement{Bucket: bucket, Part: 16}).Append(nil), "part 16"},
		"flag":   {(&Announcement{Bucket: bucket, Part: subject.Part("A"), PartValue: PartValue{Symbols: Set{"A": "x"}}}).Append(nil), "bad_mode"},
		"kind":   {(&RouterBeat{}).Append(nil), "kind 5, want 4"},
		"more": {func() []byte {
			a := announcement()
			return append(a.Append(nil), 0)
		}(), "1 bytes after the end"},
	} {
		if a, err := DecodeAnnouncement(c.p); err == nil || !strings.Contains(err.Error(), c.says) || a.Symbols != nil {
			t.Errorf("%s: %+v, %v, want an error with %q", name, a, err, c.says)
		}
	}
}

func TestDecodePart(t *testing.T) {
	part := subject.Part("BTC-USD")
	in := PartValue{Number: 7, Symbols: Set{"BTC-USD": Every}}
	p, err := json.Marshal(in)
	if err != nil || string(p) != `{"number":7,"symbols":{"BTC-USD":"every"}}` {
		t.Errorf("%s, %v", p, err)
	}
	if out, err := DecodePart(part, p); err != nil || !reflect.DeepEqual(out, in) {
		t.Errorf("%+v, %v", out, err)
	}
	for _, bad := range []string{``, `[]`, `{"number":-1}`, `{"number":1.5}`, `{"number":7,"symbols":{"BTC-USD":"x"}}`, `{"number":7,"symbols":{"BTC-USD":1}}`,
		`{"number":7,"symbols":["BTC-USD"]}`, `{"number":7} {}`} {
		if v, err := DecodePart(part, []byte(bad)); err == nil {
			t.Errorf("%s: %+v", bad, v)
		}
	}
	if _, err := DecodePart((part+1)%subject.Parts, p); !errors.As(err, new(*code.Error)) {
		t.Errorf("a symbol of another part: %v", err)
	}
}

func TestRouterBeatRoundTrip(t *testing.T) {
	for _, in := range []RouterBeat{{}, {Instance: "router-1", Ready: true}, {Instance: "x", Leaving: true}} {
		p := in.Append(nil)
		if out, err := DecodeRouterBeat(p); err != nil || out != in {
			t.Errorf("%+v, %v, want %+v", out, err, in)
		}
		for cut := range p {
			if _, err := DecodeRouterBeat(p[:cut]); err == nil {
				t.Errorf("decodes from %d of %d bytes", cut, len(p))
			}
		}
	}
}

func TestIngestAnswer(t *testing.T) {
	for want, a := range map[string]IngestAnswer{
		`{"ok":true,"epoch":1763769600,"seq":1042}`:            {OK: true, Epoch: 1763769600, Seq: 1042},
		`{"error":{"code":"bad_price","message":"price \"x"}}`: {Error: code.Errorf(code.BadPrice, `price "x`)},
	} {
		if p, err := json.Marshal(a); err != nil || string(p) != want {
			t.Errorf("%s, %v, want %s", p, err, want)
		}
	}
}

func FuzzDecodeAnnouncement(f *testing.F) {
	a := announcement()
	f.Add(a.Append(nil))
	f.Add((&Announcement{Bucket: bucket}).Append(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := DecodeAnnouncement(p)
		if err != nil {
			return
		}
		if again, err := DecodeAnnouncement(m.Append(nil)); err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v comes back as %+v, %v", m, again, err)
		}
	})
}

func FuzzDecodePart(f *testing.F) {
	f.Add(subject.Part("BTC-USD"), []byte(`{"number":7,"symbols":{"BTC-USD":"every"}}`))
	f.Add(0, []byte(`{"number":18446744073709551615,"symbols":null}`))
	f.Fuzz(func(t *testing.T, part int, p []byte) {
		v, err := DecodePart(part, p)
		if err != nil {
			return
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodePart(part, text); err != nil || again.Number != v.Number || !maps.Equal(again.Symbols, v.Symbols) {
			t.Fatalf("%+v comes back as %+v, %v", v, again, err)
		}
	})
}

func FuzzDecodeRouterBeat(f *testing.F) {
	f.Add((&RouterBeat{Instance: "router-1", Ready: true}).Append(nil))
	f.Add((&RouterBeat{Leaving: true}).Append(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := DecodeRouterBeat(p)
		if err != nil {
			return
		}
		if again, err := DecodeRouterBeat(m.Append(nil)); err != nil || again != m {
			t.Fatalf("%+v comes back as %+v, %v", m, again, err)
		}
	})
}
