package chaos

import (
	"time"

	"github.com/tickfan/tickfan/libs/natstest"
)

// await waits until something holds; it must within well.
func (w *world) await(what string, holds func() bool) {
	w.t.Helper()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(well); !holds(); <-look.C {
		if time.Now().After(deadline) {
			w.violated("not within %s: %s", well, what)
			return
		}
	}
}

// apart is a blow that keeps the newest prices from the far region until it is mended.
func apart(deal func(*world) func()) func(*world) func() {
	return func(w *world) func() {
		w.apart = true
		mend := deal(w)
		return func() {
			mend()
			w.awaitFresh()
			w.apart = false
		}
	}
}

// farLink does something to the way between the regions. The far one must keep its clients, tell them so, and take others.
func farLink(do func(*natstest.Cable)) func(*world) func() {
	return apart(func(w *world) func() {
		wanted := w.unheardOf()
		w.await("the far region knows a new symbol", func() bool { return w.asksFar(wanted.symbol) })
		lost := w.farLost()
		for _, c := range w.far.Link {
			do(c)
		}
		n := w.come(wanted, w.farDoors)
		w.await("a client that comes to the region that is cut off has what is known there", func() bool {
			return n.behind(map[string]accepted{wanted.symbol: wanted.newest()}) == ""
		})
		w.awaitStale()
		if now := w.farLost(); now != lost {
			w.violated("%d clients of the region that is cut off lost their connections", now-lost)
		}
		return func() {
			for _, c := range w.far.Link {
				c.Mend()
			}
		}
	})
}

func (w *world) killFarServer() func() {
	return apart(func(w *world) func() {
		lost := w.farLost()
		s := w.far.Servers[0]
		s.Kill()
		w.awaitStale()
		if now := w.farLost(); now != lost {
			w.violated("%d clients of the region whose server is dead lost their connections", now-lost)
		}
		return s.Start
	})(w)
}

func (w *world) awaitStale() {
	w.awaitTold("clients of the far region are told that prices may be old", true)
}

func (w *world) awaitFresh() {
	w.awaitTold("clients of the far region are told that prices are fresh", false)
}

func (w *world) awaitTold(what string, stale bool) {
	w.await(what, func() bool {
		for _, v := range w.viewers[w.atHome:] {
			v.mu.Lock()
			is := v.stale
			v.mu.Unlock()
			if is != stale {
				return false
			}
		}
		return true
	})
}

// farLost is how many connections the viewers of the far region have lost.
func (w *world) farLost() (n int) {
	for _, v := range w.viewers[w.atHome:] {
		v.mu.Lock()
		n += v.lost
		v.mu.Unlock()
	}
	return n
}
