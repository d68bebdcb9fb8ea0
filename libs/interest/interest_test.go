package interest_test

import (
	"encoding/json"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/libs/interest"
	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

func TestMain(m *testing.M) { natstest.Main(m) }

const (
	bucket = subject.Bucket("edge-abc123-0")
	soon   = 20 * time.Second
)

func TestView(t *testing.T) {
	js, err := bus.JetStream(t.Context(), natstest.Start(t).Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: subject.KVInterest, LimitMarkerTTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	btc, eth := subject.Part("BTC-USD"), subject.Part("ETH-USD")
	put := func(part int, v control.PartValue) {
		t.Helper()
		p, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(t.Context(), subject.InterestKey(bucket, part), p); err != nil {
			t.Fatal(err)
		}
	}
	put(btc, control.PartValue{Number: 1, Symbols: control.Set{"BTC-USD": control.Latest}})
	if _, err := kv.PutString(t.Context(), "not-a-bucket", "{}"); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	numbers := map[interest.Key]uint64{}
	view, err := interest.Open(t.Context(), interest.Options{
		JS: js, Log: slog.New(slog.DiscardHandler),
		OnChange: func(c interest.Change) {
			mu.Lock()
			defer mu.Unlock()
			if k := (interest.Key{Bucket: c.Bucket, Part: c.Part}); c.Gone {
				delete(numbers, k)
			} else {
				numbers[k] = c.Number
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(view.Close)

	if v, ok := view.Part(bucket, btc); !ok || v.Number != 1 || v.Symbols["BTC-USD"] != control.Latest {
		t.Errorf("part %d is %v, %v", btc, v, ok)
	}
	shows := func(want map[interest.Key]uint64) func() bool {
		return func() bool {
			have := map[interest.Key]uint64{}
			for k, v := range view.All() {
				have[k] = v.Number
			}
			mu.Lock()
			defer mu.Unlock()
			return maps.Equal(have, want) && maps.Equal(numbers, want)
		}
	}
	put(eth, control.PartValue{Number: 2, Symbols: control.Set{"ETH-USD": control.Every}})
	put(btc, control.PartValue{Number: 3, Symbols: control.Set{}})
	natstest.Eventually(t, soon, shows(map[interest.Key]uint64{{Bucket: bucket, Part: btc}: 3, {Bucket: bucket, Part: eth}: 2}), "an addition and a change")
	if err := kv.Delete(t.Context(), subject.InterestKey(bucket, btc)); err != nil {
		t.Fatal(err)
	}
	// Of another part than it says: left out, and the old value stays.
	put(eth, control.PartValue{Number: 9, Symbols: control.Set{"BTC-USD": control.Latest}})
	natstest.Eventually(t, soon, shows(map[interest.Key]uint64{{Bucket: bucket, Part: eth}: 2}), "a removal")
	view.Reconnected()
	put(btc, control.PartValue{Number: 4, Symbols: control.Set{}})
	natstest.Eventually(t, soon, shows(map[interest.Key]uint64{{Bucket: bucket, Part: btc}: 4, {Bucket: bucket, Part: eth}: 2}), "an addition after a confirmation")
}
