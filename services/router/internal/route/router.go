package route

import (
	"log/slog"
	"strings"
	"time"

	"github.com/tickfan/tickfan/libs/newest"
	"github.com/tickfan/tickfan/libs/quiet"
	"github.com/tickfan/tickfan/libs/telemetry"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/router/internal/batch"
	"github.com/tickfan/tickfan/services/router/internal/demand"
	"github.com/tickfan/tickfan/services/router/internal/peers"
	"github.com/tickfan/tickfan/services/router/internal/table"
)

// Options say what a Router needs. All are needed but Tracer.
type Options struct {
	Region   subject.Region
	Instance string        // new at each start
	Copies   int           // routers that serve each bucket
	Window   time.Duration // least time between two batches to a bucket
	Log      *slog.Logger
	// Publish sends a message. It must not keep data. An error means that it did not leave.
	Publish func(subject string, data []byte) error
	// Stored gives what KV has of a part, so that one which was only ever announced can be given up. It is called
	// only while serving.
	Stored func(b subject.Bucket, part int) (control.PartValue, bool)
	// Missed is called when ticks were lost on the way here. It must not block.
	Missed func()
	// Hears tells whether the connection stands on which the others are heard.
	Hears func() bool
	// Tracer is nil when nobody collects traces.
	Tracer *telemetry.Tracer
	// Range has a range of ticks answered on the subject reply. It must not block.
	Range func(g tick.Range, reply string)
}

// Router holds the newest ticks, the interest and the batches. It belongs to one goroutine, but for Stats.
//
//	tick --> table --newer--> links of its symbol --> bucket's items --Flush--> fanout.<region>.<bucket>
//	announcement, KV --> demand --effect--> links; what is new: newest tick + confirmed number --> bucket's items
type Router struct {
	o       Options
	table   *table.Table
	tally   tally
	demand  *demand.Demand
	sender  *batch.Sender
	peers   *peers.Peers
	serving bool
	leaving bool

	// Only while serving: who wants what, made from demand.
	links   map[subject.Symbol][]link
	buckets map[subject.Bucket]*batch.Bucket // that this router serves
	others  map[subject.Bucket]time.Time     // of those, the ones that are another's by now, and until when they are served

	stats  Stats
	faults *quiet.Log
	buf    []byte
}

// link is one bucket's wish for one symbol. A symbol's links lie side by side, for a tick goes through all of them.
type link struct {
	bucket *batch.Bucket
	slot   batch.Slot
	every  bool
}

// New makes a Router that knows nothing and serves nobody.
func New(o Options) *Router {
	r := &Router{
		o:       o,
		table:   table.New(),
		demand:  demand.New(),
		links:   map[subject.Symbol][]link{},
		peers:   peers.New(o.Instance, o.Copies),
		buckets: map[subject.Bucket]*batch.Bucket{},
		others:  map[subject.Bucket]time.Time{},
		faults:  quiet.New(o.Log, faultEvery),
	}
	r.sender = batch.NewSender(batch.Options{Region: o.Region, Instance: o.Instance, Window: o.Window, Publish: r.publish})
	r.stats.BeatAge.Store(tick.NoBeat)
	return r
}

const ticksPrefix = "ticks."

// Tick takes a message of ticks.> and keeps payload. One that is not after its symbol's newest is dropped.
func (r *Router) Tick(subj string, payload []byte, now time.Time) { r.tick(subj, payload, payload) }

// tick gives buckets item, which is the payload or a copy that names its trace. newest: it is its symbol's; buckets: so
// many want it.
func (r *Router) tick(subj string, payload, item []byte) (newest bool, buckets int) {
	r.stats.Ticks.Add(1)
	h, ok := r.head(subj, payload)
	if !ok {
		return false, 0
	}
	r.tally.tick(h)
	if buckets, newest = r.take(h, payload, item); !newest {
		r.stats.Old.Add(1)
	} else {
		r.stats.Age.Since(h.At)
	}
	return newest, buckets
}

// Fill takes what was read from TICKS, which may be older or newer than what came on ticks.>.
func (r *Router) Fill(ticks []newest.Tick, now time.Time) {
	for _, t := range ticks {
		if h, ok := r.head(t.Subject, t.Payload); ok {
			if _, newer := r.take(h, t.Payload, t.Payload); newer {
				r.stats.Repaired.Add(1)
			}
		}
	}
}

// head reads a tick's; false: it cannot be read, which is counted.
func (r *Router) head(subj string, payload []byte) (h tick.Head, ok bool) {
	h, err := tick.DecodeHead(payload)
	if err == nil && (!strings.HasPrefix(subj, ticksPrefix) || subj[len(ticksPrefix):] != string(h.Symbol)) {
		err = errSubject
	}
	if err != nil {
		r.malformed(KindTick, subj, err)
		return h, false
	}
	return h, true
}

// take tells whether the tick is its symbol's newest now, and how many buckets item is for.
func (r *Router) take(h tick.Head, payload, item []byte) (buckets int, newest bool) {
	e := r.table.Put(h, payload)
	if e == nil {
		return 0, false
	}
	links := r.links[e.Symbol]
	for i := range links {
		if l := &links[i]; l.every {
			r.sender.Every(l.bucket, item)
		} else {
			r.sender.Latest(l.bucket, &l.slot, item)
		}
	}
	return len(links), true
}

// Beat takes a message of beat.
func (r *Router) Beat(payload []byte, now time.Time) {
	b, err := tick.DecodeBeat(payload)
	if err != nil {
		r.malformed(KindBeat, subject.Beat, err)
		return
	}
	if n := r.tally.beat(b); n > 0 {
		r.stats.Missed.Add(int64(n))
		r.o.Missed()
	}
	r.sender.Beat(now)
}

// Flush sends the batches that are due and returns when it must be called again, the zero time when nothing waits.
func (r *Router) Flush(now time.Time) (next time.Time) { return r.sender.Flush(now) }

// Turn is what happens every TurnEvery: who has gone, empty batches for the idle, and the gauges.
func (r *Router) Turn(now time.Time) {
	if !r.o.Hears() {
		r.peers.Deaf() // who is cut off himself must not take over what others serve
	}
	if r.peers.Expire(now) {
		r.spread(now)
	}
	if r.serving {
		r.yield(now)
		r.sender.Idle(now)
		r.giveUp(now)
	}
	r.stats.Symbols.Store(int64(r.table.Len()))
	r.stats.Buckets.Store(int64(r.demand.Buckets()))
	r.stats.Wants.Store(int64(r.demand.Wants()))
	r.stats.Served.Store(int64(len(r.buckets)))
	r.stats.Routers.Store(int64(r.peers.Others() + 1))
	r.stats.Ahead.Store(int64(r.demand.Ahead()))
	r.stats.BeatAge.Store(r.sender.BeatAge(now))
}

// TurnEvery is how often Turn must be called.
const TurnEvery = batch.IdleEvery / batch.Slots

// Finish sends everything that waits, then that this router leaves.
func (r *Router) Finish(now time.Time) {
	r.sender.FlushAll(now)
	r.Leave()
}

// publish counts and logs what did not leave, so that nobody else has to.
func (r *Router) publish(subj string, data []byte) error {
	err := r.o.Publish(subj, data)
	if err != nil {
		r.stats.Errors.Add(1)
		r.faults.Warn("publish", "a message could not be published", "subject", subj, "error", err)
	}
	return err
}

func (r *Router) malformed(kind Kind, subj string, err error) {
	r.stats.Malformed[kind].Add(1)
	r.faults.Warn(kind.String(), "a message could not be read; it is ignored", "subject", subj, "error", err)
}
