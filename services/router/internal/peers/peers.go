package peers

import (
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

// LiveFor is how long a router counts as alive after its last beat, which comes every 500 ms.
const LiveFor = 2 * time.Second

// Peers are a router and the others of its region. They belong to one goroutine.
type Peers struct {
	self   string
	copies int
	others map[string]*peer
	ranked []router  // those that serve, self first
	looked time.Time // when Expire was last called
}

type peer struct {
	heard time.Time
	ready bool // serves buckets
}

// router is one that serves, with the hash of its name, which that of a bucket is joined to.
type router struct {
	name string
	hash uint64
}

// New makes the Peers of the router named self, who has heard of nobody. copies is how many routers serve a bucket.
func New(self string, copies int) *Peers {
	p := &Peers{self: self, copies: copies, others: map[string]*peer{}}
	p.rank()
	return p
}

// Hear takes a beat. stranger: it is the first of that router. changed: Serves may say something else now.
func (p *Peers) Hear(b control.RouterBeat, now time.Time) (stranger, changed bool) {
	if b.Instance == p.self {
		return false, false
	}
	o := p.others[b.Instance]
	if b.Leaving {
		if o == nil {
			return false, false
		}
		delete(p.others, b.Instance)
		p.rank()
		return false, o.ready
	}
	if stranger = o == nil; stranger {
		o = &peer{}
		p.others[b.Instance] = o
	}
	o.heard = now
	if o.ready != b.Ready {
		o.ready, changed = b.Ready, true
		p.rank()
	}
	return stranger, changed
}

// Deaf says that this router hears nobody now: the next Expire counts anew.
func (p *Peers) Deaf() { p.looked = time.Time{} }

// Expire forgets those that have been silent for LiveFor, and tells whether Serves may say something else now. It must be
// called several times in that time: one that was not itself could not hear the others, and begins to count anew.
func (p *Peers) Expire(now time.Time) (changed bool) {
	paused := now.Sub(p.looked) > LiveFor/2
	p.looked = now
	for name, o := range p.others {
		switch {
		case paused:
			o.heard = now
		case now.Sub(o.heard) >= LiveFor:
			delete(p.others, name)
			changed = changed || o.ready
		}
	}
	if changed {
		p.rank()
	}
	return changed
}

// Others is how many other routers serve buckets.
func (p *Peers) Others() int { return len(p.ranked) - 1 }

// rank lists anew the routers that serve.
func (p *Peers) rank() {
	p.ranked = append(p.ranked[:0], router{p.self, hash(p.self)})
	for name, o := range p.others {
		if o.ready {
			p.ranked = append(p.ranked, router{name, hash(name)})
		}
	}
}

// Serves tells whether the bucket is this router's to serve: fewer than copies others stand before it in the ranking.
func (p *Peers) Serves(b subject.Bucket) bool {
	if p.Others() < p.copies {
		return true
	}
	h := hash(string(b))
	own := score(p.ranked[0].hash, h)
	before := 0
	for _, r := range p.ranked[1:] {
		if s := score(r.hash, h); s > own || s == own && r.name > p.self {
			if before++; before == p.copies {
				return false
			}
		}
	}
	return true
}

// hash is FNV-1a. Routers of different versions must agree on it.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// score joins a router's hash and a bucket's, and mixes until every bit depends on all of both (SplitMix64's finalizer):
// names differ in their last characters only, and FNV alone would rank the same router first for all of them.
func score(router, bucket uint64) uint64 {
	x := router ^ bucket*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
