package registry

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

func TestInterestIsAnnouncedThenStored(t *testing.T) {
	b := newBench(t)
	i := b.start(slow)
	// One channel for both: a connection's messages come in the order in which they were published.
	heard := make(chan *nats.Msg, 64)
	for _, s := range []string{subject.Interest(region), "$KV." + subject.KVInterest + ".>"} {
		if _, err := b.nc.ChanSubscribe(s, heard); err != nil {
			t.Fatal(err)
		}
	}
	bucket := subject.NewBucket(alice, 0)
	r := want(bucket, 7, control.Set{"BTC-USD": control.Latest, "ETH-USD": control.Every, "SOL-USD": control.Latest})
	b.change(r)
	if !b.has(r) {
		t.Errorf("stored %v, want %v", b.stored(), r)
	}
	announced := map[int]control.Set{}
	for range 2 * len(r.Parts) {
		m := <-heard
		if _, part, ok := subject.ParseInterestKey(strings.TrimPrefix(m.Subject, "$KV."+subject.KVInterest+".")); ok {
			if announced[part] == nil {
				t.Errorf("part %d was written before it was announced", part)
			}
			continue
		}
		a, err := control.DecodeAnnouncement(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if a.Bucket != bucket || a.Number != 7 {
			t.Errorf("announced %v", a)
		}
		announced[a.Part] = a.Symbols
	}
	if !maps.EqualFunc(announced, r.Parts, maps.Equal) {
		t.Errorf("announced %v, want %v", announced, r.Parts)
	}

	empty := &control.InterestRequest{Bucket: bucket, Number: 8, Parts: map[int]control.Set{subject.Part("BTC-USD"): nil}}
	b.change(empty)
	v, ok := b.stored()[subject.InterestKey(bucket, subject.Part("BTC-USD"))]
	if !ok || v.Number != 8 || len(v.Symbols) != 0 || v.Symbols == nil {
		t.Errorf("an empty part is stored as %v, %v", v, ok)
	}
	if n := len(r.Parts) + 1; !i.scrape(fmt.Sprintf("tickfan_registry_interest_changes_total{ %d", n)) {
		t.Errorf("%d changes are not in the metrics", n)
	}
}

// What is older than what stands is of no use to a router; what equals it may be news to one.
func TestLateInterestIsNotAnnounced(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	bucket := subject.NewBucket(alice, 0)
	newer := want(bucket, 5, control.Set{"BTC-USD": control.Every})
	b.change(newer)
	natstest.Eventually(t, soon, func() bool {
		return len(ask[control.SymbolAnswer](b, subject.EndpointSymbol+".BTC-USD", nil).Buckets) == 1
	}, "the view has it")
	heard, err := b.nc.SubscribeSync(subject.Interest(region))
	if err != nil {
		t.Fatal(err)
	}
	b.change(want(bucket, 4, control.Set{"BTC-USD": control.Latest}))
	b.change(newer)
	if !b.has(newer) {
		t.Errorf("stored %v", b.stored())
	}
	m, err := heard.NextMsg(soon)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := control.DecodeAnnouncement(m.Data); err != nil || a.Number != 5 {
		t.Errorf("announced %v, %v; want the repeated number 5 alone", a, err)
	}
}

// Two registries, every change sent several times by several senders in any order: KV ends on the newest of each part.
func TestInterestInAnyOrder(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	b.start(slow)
	symbols := []subject.Symbol{"BTC-USD", "ETH-USD", "SOL-USD", "ADA-USD", "XRP-USD"}
	newest := map[string]*control.InterestRequest{} // of each part
	var all []*control.InterestRequest
	for n := range uint64(30) {
		set := control.Set{}
		for _, s := range symbols {
			if rand.IntN(2) == 0 {
				set[s] = []control.Flag{control.Latest, control.Every}[rand.IntN(2)]
			}
		}
		set[symbols[n%5]] = control.Every // never empty
		for bucket := range 2 {
			r := want(subject.NewBucket(alice, bucket), n+1, set)
			all = append(all, r, r, r)
			for part := range r.Parts {
				newest[subject.InterestKey(r.Bucket, part)] = r
			}
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var senders sync.WaitGroup
	for mine := range slices.Chunk(all, len(all)/6) {
		senders.Go(func() {
			for _, r := range mine {
				if a := ask[control.InterestAnswer](b, subject.EndpointInterest, r); a.Error != nil {
					t.Errorf("change %d: %v", r.Number, a.Error)
				}
			}
		})
	}
	senders.Wait()
	stored := b.stored()
	if len(stored) != len(newest) {
		t.Errorf("%d parts are stored, want %d", len(stored), len(newest))
	}
	for key, r := range newest {
		_, part, _ := subject.ParseInterestKey(key)
		if v := stored[key]; v.Number != r.Number || !maps.Equal(v.Symbols, r.Parts[part]) {
			t.Errorf("%s is %v, want number %d %v", key, v, r.Number, r.Parts[part])
		}
	}
}

// An older and a newer change at the same moment: whichever is first, the newer stands.
func TestInterestAtTheSameMoment(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	b.start(slow)
	for n := uint64(1); n < 200; n += 2 {
		older := want(subject.NewBucket(alice, 0), n, control.Set{"BTC-USD": control.Latest})
		newer := want(subject.NewBucket(alice, 0), n+1, control.Set{"BTC-USD": control.Every})
		var both sync.WaitGroup
		for _, r := range []*control.InterestRequest{older, newer, older} {
			both.Go(func() {
				if a := ask[control.InterestAnswer](b, subject.EndpointInterest, r); a.Error != nil {
					t.Errorf("change %d: %v", r.Number, a.Error)
				}
			})
		}
		both.Wait()
		if !b.has(newer) {
			t.Fatalf("stored %v, want %v", b.stored(), newer)
		}
	}
}

func TestJunkInStoreIsWrittenOver(t *testing.T) {
	b := newBench(t)
	b.start(slow)
	kv, err := b.js.KeyValue(t.Context(), subject.KVInterest)
	if err != nil {
		t.Fatal(err)
	}
	r := want(subject.NewBucket(alice, 0), 1, control.Set{"BTC-USD": control.Latest})
	if _, err := kv.PutString(t.Context(), subject.InterestKey(r.Bucket, subject.Part("BTC-USD")), "junk"); err != nil {
		t.Fatal(err)
	}
	b.change(r)
	if !b.has(r) {
		t.Errorf("stored %v", b.stored())
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	i := b.start(slow)
	tooMuch := control.Set{}
	for n := 0; len(tooMuch) <= control.MaxPartSymbols; n++ {
		if s := subject.Symbol(fmt.Sprintf("S%d", n)); subject.Part(s) == 3 {
			tooMuch[s] = control.Latest
		}
	}
	bucket := subject.NewBucket(alice, 0)
	for name, test := range map[string]struct {
		endpoint string
		payload  string
		request  any
		want     code.Code
	}{
		"empty":            {endpoint: subject.EndpointInterest, want: code.BadMessage},
		"not JSON":         {endpoint: subject.EndpointInterest, payload: "\xff\x00junk", want: code.BadMessage},
		"wrong type":       {endpoint: subject.EndpointInterest, payload: `{"bucket":7}`, want: code.BadMessage},
		"bad bucket":       {endpoint: subject.EndpointInterest, payload: `{"bucket":"x","number":1,"parts":{"0":{}}}`, want: code.BadBucket},
		"no number":        {endpoint: subject.EndpointInterest, request: want(bucket, 0, control.Set{"A": control.Latest}), want: code.BadMessage},
		"no parts":         {endpoint: subject.EndpointInterest, request: want(bucket, 1, nil), want: code.BadMessage},
		"part 16":          {endpoint: subject.EndpointInterest, request: &control.InterestRequest{Bucket: bucket, Number: 1, Parts: map[int]control.Set{16: {}}}, want: code.BadMessage},
		"foreign symbol":   {endpoint: subject.EndpointInterest, request: &control.InterestRequest{Bucket: bucket, Number: 1, Parts: map[int]control.Set{subject.Part("A") ^ 1: {"A": control.Latest}}}, want: code.BadMessage},
		"bad symbol":       {endpoint: subject.EndpointInterest, request: want(bucket, 1, control.Set{"btc": control.Latest}), want: code.BadSymbol},
		"bad flag":         {endpoint: subject.EndpointInterest, request: want(bucket, 1, control.Set{"A": "often"}), want: code.BadMode},
		"too much":         {endpoint: subject.EndpointInterest, request: &control.InterestRequest{Bucket: bucket, Number: 1, Parts: map[int]control.Set{3: tooMuch}}, want: code.TooMuchInterest},
		"heartbeat junk":   {endpoint: subject.EndpointHeartbeat, payload: "[]", want: code.BadMessage},
		"bad edge":         {endpoint: subject.EndpointHeartbeat, request: beat("Edge", 0), want: code.BadName},
		"another's bucket": {endpoint: subject.EndpointHeartbeat, request: beat(bob, 0, want(bucket, 1, nil)), want: code.BadBucket},
		"symbol in lower":  {endpoint: subject.EndpointSymbol + ".btc", want: code.BadSymbol},
		"drain nobody":     {endpoint: subject.EndpointDrain + ".edge-nobody", want: code.NoEdge},
		"drain what":       {endpoint: subject.EndpointDrain + ".Edge", want: code.BadName},
		"nobody there":     {endpoint: subject.EndpointLocate, want: code.NoEdge},
	} {
		t.Run(name, func(t *testing.T) {
			b := *b
			b.t = t
			type refusal struct{ Error *code.Error }
			var a refusal
			if test.request != nil {
				a = ask[refusal](&b, test.endpoint, test.request)
			} else {
				a = askRaw[refusal](&b, test.endpoint, []byte(test.payload))
			}
			if !isCode(a.Error, test.want) || a.Error.Message == "" {
				t.Errorf("answered %v, want code %s", a.Error, test.want)
			}
		})
	}
	if stored := b.stored(); len(stored) > 0 {
		t.Errorf("stored %v", stored)
	}
	if !i.scrape(`tickfan_registry_requests_total{code="bad_mode",endpoint="interest" 1`) {
		t.Error("the refusals are not in the metrics")
	}
}
