package tickctl

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/libs/kvview"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	// listenFor is how long a region is listened to: its ingest and its routers beat every 500 ms, and an idle bucket
	// gets a batch each second. Where one of them is not heard, on a busy machine too, it is listenMost.
	listenFor  = 1500 * time.Millisecond
	listenMost = 4 * time.Second
	// sampled is how many buckets are listened to, of as many edges: all that a region sends may be more than reaches here.
	sampled = 8

	staleBeat  = 3 * time.Second  // from when on edges tell their clients
	lateLease  = 9 * time.Second  // an edge renews its lease every 3 s, and it lasts 15 s
	lateMirror = 30 * time.Second // a mirror needs up to 20 s to go on after a cut
)

// look fills in the report of one region.
//
//	each server by itself: name, version
//	$SRV.PING.tickfan-registry, or else the domain of JetStream: which region this is
//	registry.<region>.edges, .buckets; KV LEADER, the mirror of TICKS
//	beat, router.<region>.beat, fanout.<region>.<some buckets>: for a while
func (r *regionReport) look(ctx context.Context, urls string, timeout time.Duration) {
	if r.reach(ctx, urls, timeout); !r.reached() {
		return // said of each server
	}
	nc, err := connect(ctx, urls, timeout)
	if err != nil {
		r.wrong("%v", err) // it has just answered
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		r.wrong("make JetStream client: %v", err)
		return
	}
	domain := r.lookAtJetStream(ctx, js, timeout)
	r.findRegistries(ctx, nc, domain, timeout)
	reg := &registry{nc: nc, region: r.Region, timeout: timeout}
	live, dead := r.lookAtRegistry(ctx, reg)
	r.lookAtTicks(ctx, js, timeout)
	silent := r.listen(ctx, nc, live)
	r.lookAgain(ctx, reg, dead, silent, len(live))
}

// reach connects to each of the servers, for one that answers hides the others.
func (r *regionReport) reach(ctx context.Context, urls string, timeout time.Duration) {
	all := strings.Split(urls, ",")
	faults := make([]error, len(all))
	var dialing sync.WaitGroup
	for i, url := range all {
		s := &serverReport{URL: conf.Strike(strings.TrimSpace(url))}
		r.Servers = append(r.Servers, s)
		dialing.Go(func() {
			nc, err := connect(ctx, url, timeout)
			if err != nil {
				faults[i] = err
				return
			}
			defer nc.Close()
			s.Name, s.Version = nc.ConnectedServerName(), nc.ConnectedServerVersion()
		})
	}
	dialing.Wait()
	for i, s := range r.Servers {
		switch {
		case faults[i] != nil:
			r.wrong("%v", faults[i])
		case older(s.Version, leastServer):
			r.wrong("nats-server %s at %s is too old: install %s or newer", s.Version, s.URL, leastServer)
		}
	}
}

// findRegistries finds out which region this is, too. Those of other regions are left out, where they answer here.
func (r *regionReport) findRegistries(ctx context.Context, nc *nats.Conn, domain subject.Region, timeout time.Duration) {
	r.Region = domain
	all, err := instances(ctx, nc, timeout)
	if err != nil {
		r.wrong("%v", err)
		return
	}
	if one, err := oneRegion(all); err == nil {
		r.Region = one
	} else if domain == "" {
		r.wrong("registries of several regions answer here: give JetStream a domain with the region's name")
		return
	}
	for _, i := range all {
		if i.Region == r.Region {
			r.Registries = append(r.Registries, i)
		}
	}
	if len(r.Registries) == 0 {
		r.wrong("no registry of this region, only others' answer: start registry")
	}
}

// lookAtJetStream gives the domain, which has the region's name.
func (r *regionReport) lookAtJetStream(ctx context.Context, js jetstream.JetStream, timeout time.Duration) subject.Region {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	info, err := js.AccountInfo(ctx)
	if err != nil {
		r.wrong("JetStream does not answer (%v): start nats-server with -js; a cluster needs a majority of its servers", err)
		return ""
	}
	r.JetStream = true
	region, err := subject.ParseRegion(info.Domain)
	if err != nil {
		return "" // a server without a domain
	}
	return region
}

// lookAtRegistry reads what the registry knows, and gives one bucket each of some edges that live, and those that have no
// lease.
func (r *regionReport) lookAtRegistry(ctx context.Context, reg *registry) (live, dead []subject.Bucket) {
	if len(r.Registries) == 0 {
		return nil, nil
	}
	var leases control.EdgesAnswer
	var wanted control.BucketsAnswer
	err := reg.ask(ctx, subject.EndpointEdges, &leases)
	if err == nil {
		err = reg.ask(ctx, subject.EndpointBuckets, &wanted)
	}
	if err != nil {
		r.wrong("%v", err)
		return nil, nil
	}
	r.Edges, r.Draining, r.Connections, r.Capacity, r.Buckets = len(leases.Edges), 0, 0, 0, len(wanted.Buckets)
	open := 0
	for _, l := range leases.Edges {
		r.Connections += l.Connections
		r.Capacity += l.Capacity
		switch state(l) {
		case "open":
			open++
		case "draining", "told to drain":
			r.Draining++
		}
		if age := heard(l, &leases); age > lateLease {
			r.wrong("edge %s was last heard %s ago: look at its log", l.Edge, short(age))
		}
	}
	switch {
	case r.Edges == 0:
		r.wrong("no edge: start edge")
	case open == 0:
		r.wrong("no edge takes clients, each of %d is full or drains: start another edge", r.Edges)
	}
	for _, i := range rand.Perm(len(wanted.Buckets)) {
		switch b := wanted.Buckets[i]; {
		case !b.Leased:
			dead = append(dead, b.Bucket)
		case len(live) < sampled && !slices.ContainsFunc(live, func(l subject.Bucket) bool { return l.Edge() == b.Bucket.Edge() }):
			live = append(live, b.Bucket)
		}
	}
	return live, dead
}

// lookAgain looks, a while later, at buckets without a lease and at those that no router wrote to: when an edge has stopped
// in order they are gone by then.
func (r *regionReport) lookAgain(ctx context.Context, reg *registry, dead, silent []subject.Bucket, listened int) {
	var wanted control.BucketsAnswer
	if len(dead)+len(silent) == 0 || reg.ask(ctx, subject.EndpointBuckets, &wanted) != nil {
		return
	}
	still := func(leased bool, before []subject.Bucket) (now []string) {
		for _, b := range wanted.Buckets {
			if b.Leased == leased && slices.Contains(before, b.Bucket) {
				now = append(now, string(b.Bucket))
			}
		}
		return now
	}
	if n := len(still(false, dead)); n > 0 {
		r.wrong("%s of dead edges: the registry removes them within 11s", count(n, "bucket"))
	}
	if all := still(true, silent); len(all) > 0 && r.ready() > 0 { // without a router it has been said
		r.wrong("no router wrote to %s within %s, of %d listened to: see the routers' logs", strings.Join(all, " "), listenMost, listened)
	}
}

// lookAtTicks tells home, where LEADER is, from a region with a mirror.
func (r *regionReport) lookAtTicks(ctx context.Context, js jetstream.JetStream, timeout time.Duration) {
	if !r.JetStream {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticks, err := js.Stream(ctx, subject.StreamTicks)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		r.wrong("no stream %s: start ingest; in another region than home start registry with --home", subject.StreamTicks)
		return
	case err != nil:
		r.wrong("stream %s: %v", subject.StreamTicks, err)
		return
	}
	info := ticks.CachedInfo()
	if info.Config.Mirror == nil {
		r.Home = true
		r.lookAtLeader(ctx, js)
		return
	}
	r.mirrored(info.Mirror)
}

// mirrored judges the mirror by what the server says of it; nil: nothing.
func (r *regionReport) mirrored(m *jetstream.StreamSourceInfo) {
	if m != nil {
		r.MirrorLag = m.Lag
		if m.Active >= 0 {
			r.MirrorAgeMS = ms(m.Active)
		}
	}
	switch {
	case r.MirrorAgeMS == never:
		r.wrong("the mirror of %s has not heard of home: look at the link to home", subject.StreamTicks)
	case r.MirrorAgeMS > ms(lateMirror):
		r.wrong("the mirror of %s last heard of home %s ago: look at the link to home", subject.StreamTicks, r.MirrorAgeMS)
	}
}

// lookAtLeader reads who holds ingest's lease.
func (r *regionReport) lookAtLeader(ctx context.Context, js jetstream.JetStream) {
	view, err := kvview.Open(ctx, kvview.Options[string, control.LeaderLease]{
		JS: js, Store: subject.KVLeader, Log: slog.New(slog.DiscardHandler),
		Key: func(key string) (string, error) { return key, nil },
		Value: func(_ string, value []byte) (l control.LeaderLease, err error) {
			return l, json.Unmarshal(value, &l)
		},
	})
	if err != nil {
		r.wrong("no KV store %s: start ingest", subject.KVLeader)
		return
	}
	defer view.Close()
	lease, ok := view.Get(subject.KeyLease)
	if !ok {
		r.wrong("no ingest holds the lease: start ingest, or see its /readyz")
		return
	}
	r.Leader = lease.Value.Instance
}

// listen hears who lives, and gives the buckets that got nothing.
func (r *regionReport) listen(ctx context.Context, nc *nats.Conn, buckets []subject.Bucket) (silent []subject.Bucket) {
	heard := make(chan *nats.Msg, 16<<10)
	l := listener{routers: map[string]bool{}, ages: map[string]int64{}, silent: map[string]bool{subject.Beat: true}}
	subjects := []string{subject.Beat}
	if r.Region != "" { // else no registry answers, and no domain says it
		at := subject.RouterBeat(r.Region)
		subjects, l.silent[at] = append(subjects, at), true
	}
	for _, b := range buckets {
		at := subject.Fanout(r.Region, b)
		subjects, l.silent[at] = append(subjects, at), true
	}
	for _, at := range subjects {
		sub, err := nc.ChanSubscribe(at, heard)
		if err != nil {
			r.wrong("listen to %s: %v", at, err)
			return nil
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	enough, over := time.NewTimer(listenFor), time.NewTimer(listenMost)
	defer enough.Stop()
	defer over.Stop()
	for listening, more := true, true; listening && (more || len(l.silent) > 0); {
		select {
		case msg := <-heard:
			l.hear(msg, r.Region)
		case <-enough.C:
			more = false
		case <-over.C:
			listening = false
		case <-ctx.Done():
			return nil
		}
	}
	r.hears(&l, time.Now())
	for _, b := range buckets {
		if l.silent[subject.Fanout(r.Region, b)] {
			silent = append(silent, b)
		}
	}
	return silent
}

// listener keeps the last of what was heard.
type listener struct {
	beat    tick.BeatMsg    // of the newest epoch
	at      time.Time       // of the beat, by this computer's clock; zero: none
	older   uint64          // an epoch of which there was a beat after one of a newer
	behind  int             // how many such beats
	routers map[string]bool // by instance: ready
	ages    map[string]int64
	silent  map[string]bool // subjects on which nothing was heard yet
}

func (l *listener) hear(msg *nats.Msg, region subject.Region) {
	delete(l.silent, msg.Subject)
	switch msg.Subject {
	case subject.Beat:
		b, err := tick.DecodeBeat(msg.Data)
		switch {
		case err != nil:
		case b.Epoch < l.beat.Epoch: // an ingest that lost its lease may not know
			l.older, l.behind = b.Epoch, l.behind+1
		default:
			l.beat, l.at = b, time.Now()
		}
	case subject.RouterBeat(region):
		b, err := control.DecodeRouterBeat(msg.Data)
		switch {
		case err != nil:
		case b.Leaving:
			delete(l.routers, b.Instance)
		default:
			l.routers[b.Instance] = b.Ready
		}
	default:
		var b tick.Batch
		if b.Decode(msg.Data) == nil {
			l.ages[b.Router] = b.BeatAge
		}
	}
}

func (r *regionReport) hears(l *listener, now time.Time) {
	if l.at.IsZero() {
		r.wrong("no beat of ingest within %s: %s", listenMost, r.noBeat())
	} else {
		r.Epoch, r.BeatAgeMS = l.beat.Epoch, ms(now.Sub(l.at))
	}
	if l.behind > 1 { // one is on its way when another takes over
		r.wrong("two ingests beat, in epochs %d and %d: restart the older one if it does not stop within a minute", l.older, l.beat.Epoch)
	}
	for instance, ready := range l.routers {
		r.Routers = append(r.Routers, routerReport{instance, ready})
	}
	slices.SortFunc(r.Routers, func(a, b routerReport) int { return strings.Compare(a.Instance, b.Instance) })
	switch {
	case r.Region == "":
	case len(r.Routers) == 0:
		r.wrong("no router: start router")
	case r.ready() == 0:
		r.wrong("no router is ready: /readyz on its ops port says what it waits for")
	}
	for _, age := range l.ages {
		if age == tick.NoBeat {
			r.wrong("a router has never heard a beat of ingest: see its /readyz")
			continue
		}
		r.LagMS = max(r.LagMS, milliseconds(age))
	}
	if lag := time.Duration(r.LagMS) * time.Millisecond; lag > staleBeat {
		r.wrong("prices are stale, routers last heard ingest %s ago: %s", short(lag), r.noBeat())
	}
}

// noBeat is what to do about ingest.
func (r *regionReport) noBeat() string {
	if r.Home {
		return "start ingest, or see its /readyz"
	}
	return "start ingest at home, or look at the link to home"
}
