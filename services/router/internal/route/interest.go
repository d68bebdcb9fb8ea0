package route

import (
	"slices"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/router/internal/batch"
	"github.com/tickfan/tickfan/services/router/internal/demand"
)

const (
	// giveUpAfter is how long a part that was only announced is served, counted from its last announcement. An edge whose
	// lease ran out is removed within half a minute and an unanswered change is repeated every other second, so nobody waits
	// for what is older; it is long all the same, because a region whose KV cannot be written lives on announcements.
	giveUpAfter = 10 * time.Minute
	// lostFor is how long a part is served that KV lost and that was not announced since: by then each edge that lives has
	// been told, and of those that died meanwhile nobody will say so.
	lostFor = 2 * time.Minute
)

// Announcement takes a message of interest.<region>.
func (r *Router) Announcement(payload []byte, now time.Time) {
	a, err := control.DecodeAnnouncement(payload)
	if err != nil {
		r.malformed(KindInterest, subject.Interest(r.o.Region), err)
		return
	}
	r.stats.Announced.Add(1)
	if e, ok := r.demand.Announce(a, now); ok {
		r.apply(e)
	}
}

// Store takes a part that KV has.
func (r *Router) Store(b subject.Bucket, part int, v control.PartValue) {
	if e, ok := r.demand.Store(b, part, v); ok {
		r.apply(e)
	}
}

// Remove takes a part that KV has no more.
func (r *Router) Remove(b subject.Bucket, part int) {
	if e, ok := r.demand.Remove(b, part); ok {
		r.apply(e)
	}
}

// Lost takes a part that KV has no more because it was lost itself.
func (r *Router) Lost(b subject.Bucket, part int, now time.Time) {
	r.stats.Lost.Add(1)
	r.demand.Lost(b, part, now.Add(lostFor-giveUpAfter))
}

func (r *Router) giveUp(now time.Time) {
	r.demand.Overdue(now.Add(-giveUpAfter), r.o.Stored, func(e demand.Effect) {
		r.stats.GivenUp.Add(1)
		r.apply(e)
	})
}

// apply makes links and batches follow a change. What the bucket is newly served it gets at its newest in the batch
// that confirms the number, which both wait in until the next Flush.
func (r *Router) apply(e demand.Effect) {
	if !r.serving {
		return // Serve does it
	}
	b := r.buckets[e.Bucket]
	if b == nil {
		if !e.Closed && r.peers.Serves(e.Bucket) {
			r.begin(e.Bucket) // with this change, which demand has already
		}
		return
	}
	for _, s := range e.Removed {
		r.unlink(b, s)
	}
	if e.Closed {
		r.sender.Close(b)
		delete(r.buckets, e.Bucket)
		delete(r.others, e.Bucket)
		return
	}
	r.fill(b, e)
}

// fill gives a bucket what a change names.
func (r *Router) fill(b *batch.Bucket, e demand.Effect) {
	for _, p := range e.Changed {
		l := r.link(b, p)
		l.every = p.Every
		if payload := r.table.Payload(p.Symbol); p.Fresh() && payload != nil {
			r.sender.Latest(b, &l.slot, payload)
		}
	}
	r.sender.Confirm(b, e.Part, e.Number)
}

// link gives a bucket's link to a symbol, made where it was added. It is good until the next change.
func (r *Router) link(b *batch.Bucket, p demand.Pick) *link {
	links := r.links[p.Symbol]
	if p.Added { // no look at the others: a thousand buckets want the same
		links = append(links, link{bucket: b})
		r.links[p.Symbol] = links
		return &links[len(links)-1]
	}
	return &links[find(links, b)]
}

func (r *Router) unlink(b *batch.Bucket, s subject.Symbol) {
	links := r.links[s]
	last := len(links) - 1
	if last == 0 {
		delete(r.links, s)
		return
	}
	links[find(links, b)] = links[last] // the order of buckets does not matter
	links[last] = link{}
	r.links[s] = links[:last]
}

func find(links []link, b *batch.Bucket) int {
	return slices.IndexFunc(links, func(l link) bool { return l.bucket == b })
}
