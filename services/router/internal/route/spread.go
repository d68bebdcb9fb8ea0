package route

import (
	"slices"
	"time"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/router/internal/peers"
)

// overlap is how long a bucket is served on when it is another router's: by then that one knows it, too.
const overlap = peers.LiveFor

// Serve begins to send, now that the table and the interest are complete: every bucket that is this router's gets all it
// wants.
func (r *Router) Serve(now time.Time) {
	r.serving = true
	r.spread(now)
	r.Say() // so that the others leave to it what is its
}

// PeerBeat takes a message of router.<region>.beat.
func (r *Router) PeerBeat(payload []byte, now time.Time) {
	m, err := control.DecodeRouterBeat(payload)
	if err != nil {
		r.malformed(KindPeer, subject.RouterBeat(r.o.Region), err)
		return
	}
	stranger, changed := r.peers.Hear(m, now)
	if stranger {
		r.Say() // it waits for this before it serves
	}
	if changed {
		r.spread(now)
	}
}

// Say publishes the router's own beat.
func (r *Router) Say() {
	m := control.RouterBeat{Instance: r.o.Instance, Ready: r.serving && !r.leaving, Leaving: r.leaving}
	r.buf = m.Append(r.buf[:0])
	_ = r.publish(subject.RouterBeat(r.o.Region), r.buf) // counted; the next one says the same
}

// Leave says that this router stops soon, and tells whether there are others to take over what it still serves.
func (r *Router) Leave() bool {
	r.leaving = true
	r.Say()
	return r.peers.Others() > 0
}

// spread begins with the buckets that are this router's by now, and has those that are not any more end after the overlap.
func (r *Router) spread(now time.Time) {
	if !r.serving {
		return
	}
	for name := range r.demand.Names() {
		_, served := r.buckets[name]
		_, ends := r.others[name]
		switch mine := r.peers.Serves(name); {
		case mine && !served:
			r.begin(name)
		case mine && ends:
			delete(r.others, name)
		case !mine && served && !ends:
			r.others[name] = now.Add(overlap)
		}
	}
}

// begin serves a bucket: its first batch holds the newest of all it wants and confirms all its numbers.
func (r *Router) begin(name subject.Bucket) {
	b := r.sender.Open(name)
	r.buckets[name] = b
	for e := range r.demand.Each(name) {
		r.fill(b, e)
	}
}

// yield ends the buckets that have been another's for long enough. All at once: a symbol has a link for each bucket, and
// looking for one bucket's in the links of each of its symbols would hold the loop for as long as there are buckets.
func (r *Router) yield(now time.Time) {
	n := 0
	for name, ends := range r.others {
		if !now.Before(ends) {
			r.sender.Close(r.buckets[name])
			delete(r.buckets, name)
			delete(r.others, name)
			n++
		}
	}
	if n == 0 {
		return
	}
	for s, links := range r.links {
		if links = slices.DeleteFunc(links, func(l link) bool { return l.bucket.Closed() }); len(links) > 0 {
			r.links[s] = links
		} else {
			delete(r.links, s)
		}
	}
}
