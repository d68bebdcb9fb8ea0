package route

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

func TestWhatIsNewlyServedComesAtItsNewest(t *testing.T) {
	b := newBench(t)
	b.Serve(b.now)
	b.publishTick("BTC-USD", 1, 7)
	b.publishTick("ETH-USD", 1, 8)

	confirmed := func(what string, part int, number uint64, items string) {
		t.Helper()
		b.now = b.now.Add(window)
		b.Flush(b.now)
		all := b.batches(bucketA)
		if len(all) != 1 || all[0].Interest[part] != number {
			t.Fatalf("%s: %d batches %+v, want one that confirms %d of part %d", what, len(all), all, number, part)
		}
		var got []string
		for _, it := range all[0].Items {
			h, _ := tick.DecodeHead(it)
			got = append(got, string(h.Symbol))
		}
		slices.Sort(got)
		expect(t, what, strings.Join(got, " "), items)
	}
	btc, eth := subject.Part("BTC-USD"), subject.Part("ETH-USD")
	b.announce(bucketA, 1, "BTC-USD")
	confirmed("a new bucket", btc, 1, "BTC-USD")
	b.announce(bucketA, 2, "ETH-USD NEW-USD")
	confirmed("an added symbol", eth, 2, "ETH-USD")
	b.announce(bucketA, 3, "BTC-USD*")
	confirmed("every instead of latest", btc, 3, "BTC-USD")
	b.want(bucketA, 4, "BTC-USD")
	confirmed("latest instead of every", btc, 4, "")
	b.announce(bucketA, 4, "BTC-USD*") // not above
	if got := b.flush(bucketA); got != "" {
		t.Fatalf("an old announcement sent %q", got)
	}
}

func TestRemovalsComeFromKV(t *testing.T) {
	// Two symbols of one part.
	var a, c subject.Symbol = "AAA", ""
	for i := 0; c == ""; i++ {
		if s := subject.Symbol(fmt.Sprint("C", i)); subject.Part(s) == subject.Part(a) {
			c = s
		}
	}
	b := newBench(t)
	b.want(bucketA, 1, string(a+" "+c))
	b.Serve(b.now)
	b.flush(bucketA)

	b.announce(bucketA, 2, string(a))
	b.publishTick(c, 1, 1)
	expect(t, "announced only", b.flush(bucketA), fmt.Sprintf("2: %s/1", c))
	b.want(bucketA, 2, string(a))
	b.publishTick(c, 1, 2)
	expect(t, "removed by KV", b.flush(bucketA), "3:")
	b.publishTick(a, 1, 1)
	expect(t, "the other stays", b.flush(bucketA), fmt.Sprintf("4: %s/1", a))
}

func TestGoneBucketIsForgotten(t *testing.T) {
	b := newBench(t)
	b.want(bucketA, 1, "BTC-USD ETH-USD")
	b.want(bucketB, 1, "BTC-USD")
	b.Serve(b.now)
	b.publishTick("BTC-USD", 1, 1)
	for _, s := range []subject.Symbol{"BTC-USD", "ETH-USD"} {
		b.Remove(bucketA, subject.Part(s))
	}
	b.publishTick("BTC-USD", 1, 2)
	b.publishTick("ETH-USD", 1, 1)
	expect(t, "A", b.flush(bucketA), "")
	expect(t, "B", b.got(bucketB), "1: BTC-USD/2")
	if len(b.buckets) != 1 || len(b.links["BTC-USD"]) != 1 || len(b.links) != 1 {
		t.Fatalf("%d buckets, links %v", len(b.buckets), b.links)
	}
	b.Turn(b.now)
	if n := b.Stats().Buckets.Load(); n != 1 {
		t.Fatalf("%d buckets in the metric", n)
	}

	// Were it to come back, its numbers would start again with it.
	b.want(bucketA, 9, "BTC-USD")
	expect(t, "A again", b.flush(bucketA), "1: BTC-USD/2")
}

func TestAnnouncedAndNeverStored(t *testing.T) {
	b := newBench(t)
	b.Serve(b.now)
	b.announce(bucketA, 1, "BTC-USD")
	b.flush(bucketA)
	b.now = start.Add(giveUpAfter)
	b.Turn(b.now)
	if len(b.buckets) != 1 {
		t.Fatal("given up too early")
	}
	b.Turn(b.now.Add(time.Second))
	if len(b.buckets) != 0 || len(b.links) != 0 || b.Stats().GivenUp.Load() != 1 {
		t.Fatalf("%d buckets, links %v", len(b.buckets), b.links)
	}
}
