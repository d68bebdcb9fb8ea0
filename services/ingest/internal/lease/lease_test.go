package lease

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

func TestWinKeepAndGiveBack(t *testing.T) {
	srv := natstest.Start(t)
	before := uint64(time.Now().Unix())
	a := contend(t, srv, "a", 0, &holder{})
	first := a.begins(t, 1)
	if first < before {
		t.Errorf("epoch %d, want at least the second %d", first, before)
	}
	kv := bucket(t, srv)
	status, err := kv.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.History() != 1 || status.LimitMarkerTTL() != 5*time.Minute || status.Config().Storage != jetstream.FileStorage {
		t.Errorf("LEADER: history %d, marker TTL %s, %v", status.History(), status.LimitMarkerTTL(), status.Config().Storage)
	}
	// Refreshed again and again, by then with the epoch.
	_, rev, _ := read[control.LeaderLease](t, kv, "lease")
	natstest.Eventually(t, patience, func() bool {
		l, r, ok := read[control.LeaderLease](t, kv, "lease")
		return ok && r > rev && l == control.LeaderLease{Instance: "a", Epoch: first}
	}, "the lease names a and epoch %d", first)
	js, err := jetstream.New(a.conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_LEADER")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := stream.GetLastMsgForSubject(t.Context(), "$KV.LEADER.lease")
	if err != nil || raw.Header.Get(jetstream.MsgTTLHeader) != TTL.String() {
		t.Errorf("the refresh's TTL is %q, %v; want %s", raw.Header.Get(jetstream.MsgTTLHeader), err, TTL)
	}

	a.stop()
	if _, _, ok := read[control.LeaderLease](t, kv, "lease"); ok {
		t.Error("the lease is there after a clean stop")
	}
	if e, _, ok := read[control.LeaderEpoch](t, kv, "epoch"); !ok || e.Epoch != first {
		t.Errorf("epoch key is %v, want %d", e, first)
	}
	if second := contend(t, srv, "b", 0, &holder{}).begins(t, 1); second <= first {
		t.Errorf("epoch %d after %d", second, first)
	}
}

func TestStandbyTakesOverAfterCleanStop(t *testing.T) {
	srv := natstest.Start(t)
	a := contend(t, srv, "a", 0, &holder{})
	first := a.begins(t, 1)
	b := contend(t, srv, "b", 0, &holder{})
	natstest.Eventually(t, patience, func() bool {
		err := b.condition.Err()
		return err != nil && strings.Contains(err.Error(), "standby: a holds the lease, but has not been heard")
	}, "b is not ready: a may be dead")
	b.Observe(first)
	natstest.Eventually(t, patience, b.mux.Ready, "b is ready to take over")
	if s := b.readyz(); !strings.Contains(s, "standby: a holds the lease") {
		t.Errorf("b says %s", s)
	}
	if s := a.readyz(); !a.mux.Ready() || !strings.Contains(s, fmt.Sprintf("leads in epoch %d", first)) {
		t.Errorf("a says %s", s)
	}
	if b.holder.terms() != 0 {
		t.Error("both stamp")
	}
	a.stop()
	if second := b.begins(t, 1); second <= first {
		t.Errorf("epoch %d after %d", second, first)
	}
}

// A holder cut off from JetStream goes on, until it hears of the one that took over.
func TestTakeOverFromOneCutOff(t *testing.T) {
	srv := natstest.Start(t)
	a := contend(t, srv, "a", time.Second, &holder{})
	first := a.begins(t, 1)
	a.conn.Close()
	b := contend(t, srv, "b", time.Second, &holder{})
	second := b.begins(t, 1)
	if second <= first {
		t.Errorf("epoch %d after %d", second, first)
	}
	n := a.Unanswered()
	natstest.Eventually(t, patience, func() bool { return a.Unanswered() > n+2 }, "a's refreshes go unanswered")
	if a.holder.current() != first {
		t.Fatal("a stopped for want of an answer")
	}
	a.Observe(first)
	a.Observe(1 << 60) // nobody's
	a.Observe(second)
	natstest.Eventually(t, patience, func() bool { return a.holder.current() == 0 }, "a stops on proof")
	if a.Lost() != 1 {
		t.Errorf("lost %d times", a.Lost())
	}
}

func TestMissingKeysAreMadeAgain(t *testing.T) {
	srv := natstest.Start(t)
	a := contend(t, srv, "a", 0, &holder{})
	first := a.begins(t, 1)
	kv := bucket(t, srv)
	restored := func(what string) {
		t.Helper()
		natstest.Eventually(t, patience, func() bool {
			l, _, ok := read[control.LeaderLease](t, kv, "lease")
			e, _, ok2 := read[control.LeaderEpoch](t, kv, "epoch")
			return ok && ok2 && l == control.LeaderLease{Instance: "a", Epoch: first} && e.Epoch == first
		}, "LEADER stands again: %s", what)
		if a.holder.terms() != 1 || a.holder.current() != first || a.Lost() != 0 {
			t.Fatalf("%s: %d terms, now %d, lost %d", what, a.holder.terms(), a.holder.current(), a.Lost())
		}
	}
	if err := kv.Purge(t.Context(), "lease"); err != nil {
		t.Fatal(err)
	}
	restored("lease purged")
	if err := kv.Delete(t.Context(), "epoch"); err != nil {
		t.Fatal(err)
	}
	restored("epoch deleted")
	if _, err := kv.Put(t.Context(), "epoch", []byte(`{"epoch":12}`)); err != nil {
		t.Fatal(err)
	}
	restored("epoch set back")
	js, err := jetstream.New(srv.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), subject.KVLeader); err != nil {
		t.Fatal(err)
	}
	restored("LEADER deleted")
}

// A replica that lags shows a lease that was lost. It is no lease.
func TestEarlierTermIsNotWonAgain(t *testing.T) {
	srv := natstest.Start(t)
	js, err := jetstream.New(srv.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	l := New(Options{JetStream: js, Instance: "a", Replicas: 1, Log: slog.New(slog.DiscardHandler)})
	rev, holder, err := l.try(t.Context())
	if err != nil || holder != "" {
		t.Fatalf("%q holds the lease, %v", holder, err)
	}
	if again, holder, err := l.try(t.Context()); err != nil || holder != "" || again != rev {
		t.Errorf("whose answer was lost: %q holds the lease at %d, %v", holder, again, err)
	}
	l.past = rev
	if _, holder, err := l.try(t.Context()); err != nil || holder == "" {
		t.Errorf("won again, %v", err)
	}
}

func TestLostToAnothersKey(t *testing.T) {
	srv := natstest.Start(t)
	a := contend(t, srv, "a", 0, &holder{})
	a.begins(t, 1)
	kv := bucket(t, srv)
	if _, err := kv.Put(t.Context(), "lease", []byte(`{"instance":"thief"}`)); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() bool {
		return a.holder.current() == 0 && strings.Contains(a.readyz(), "standby: thief")
	}, "a stops and stands by")
	if l, _, _ := read[control.LeaderLease](t, kv, "lease"); l.Instance != "thief" {
		t.Errorf("the lease names %q: a gave back what was not its own", l.Instance)
	}
	if err := kv.Delete(t.Context(), "lease"); err != nil {
		t.Fatal(err)
	}
	a.begins(t, 2)
}

func TestLostToHigherEpochInLeader(t *testing.T) {
	srv := natstest.Start(t)
	a := contend(t, srv, "a", 0, &holder{})
	first := a.begins(t, 1)
	kv := bucket(t, srv)
	p, _ := json.Marshal(control.LeaderEpoch{Epoch: first + 1000})
	if _, err := kv.Put(t.Context(), "epoch", p); err != nil {
		t.Fatal(err)
	}
	if second := a.begins(t, 2); second <= first+1000 {
		t.Errorf("epoch %d, want above %d", second, first+1000)
	}
}

// Above what LEADER, TICKS and the bus know, whichever is lost.
func TestEpochAboveAll(t *testing.T) {
	far := uint64(time.Now().Unix()) + 1_000_000
	t.Run("TICKS", func(t *testing.T) {
		if e := contend(t, natstest.Start(t), "a", 0, &holder{highest: far}).begins(t, 1); e != far+1 {
			t.Errorf("epoch %d, want %d", e, far+1)
		}
	})
	t.Run("bus", func(t *testing.T) {
		gate := make(chan struct{})
		a := contend(t, natstest.Start(t), "a", 0, &holder{gate: gate})
		a.Observe(far)
		close(gate)
		if e := a.begins(t, 1); e != far+1 {
			t.Errorf("epoch %d, want %d", e, far+1)
		}
	})
	t.Run("LEADER with junk", func(t *testing.T) {
		srv := natstest.Start(t)
		gate := make(chan struct{})
		a := contend(t, srv, "a", 0, &holder{gate: gate})
		natstest.Eventually(t, patience, func() bool {
			err := a.condition.Err()
			return err != nil && strings.Contains(err.Error(), "reading")
		}, "a has the lease")
		if _, err := bucket(t, srv).Put(t.Context(), "epoch", []byte("junk")); err != nil {
			t.Fatal(err)
		}
		close(gate)
		a.begins(t, 1)
	})
}

// However long TICKS takes to be read, the lease is kept meanwhile; and a fault is tried again.
// Ingests whose clocks are an hour apart follow one another, and one's is set while it stamps: epochs strictly grow, and
// nobody stops for it.
func TestWrongClocks(t *testing.T) {
	srv := natstest.Start(t)
	leader := contend(t, srv, "right", 0, &holder{})
	epoch := leader.begins(t, 1)
	for _, c := range []struct {
		name  string
		ahead time.Duration
	}{{"back", -time.Hour}, {"ahead", time.Hour}, {"right-again", 0}, {"back-again", -time.Hour}} {
		next := contend(t, srv, c.name, 0, &holder{})
		next.clock.jump(c.ahead)
		leader.stop()
		now := next.begins(t, 1)
		if now <= epoch {
			t.Errorf("%s: epoch %d after %d", c.name, now, epoch)
		}
		leader, epoch = next, now
	}
	for _, step := range []time.Duration{2 * time.Hour, -3 * time.Hour} {
		before := leader.holder.keptUntil()
		leader.clock.jump(step)
		natstest.Eventually(t, patience, func() bool {
			until := leader.holder.keptUntil()
			return leader.condition.Err() == nil && (until.Sub(before) > step/2) == (step > 0)
		}, "it goes on by the clock that was set by %s", step)
	}
	if leader.holder.current() != epoch || leader.holder.terms() != 1 || leader.Lost() != 0 {
		t.Errorf("epoch %d in term %d, lost %d times; want %d", leader.holder.current(), leader.holder.terms(), leader.Lost(), epoch)
	}
}

func TestRefreshWhilePreparing(t *testing.T) {
	srv := natstest.Start(t)
	gate := make(chan struct{})
	a := contend(t, srv, "a", 0, &holder{gate: gate, faults: 2})
	natstest.Eventually(t, patience, func() bool {
		a.holder.mu.Lock()
		defer a.holder.mu.Unlock()
		return a.holder.prepares == 3
	}, "the third Prepare")
	kv := bucket(t, srv)
	_, rev, _ := read[control.LeaderLease](t, kv, "lease")
	natstest.Eventually(t, patience, func() bool {
		_, r, ok := read[control.LeaderLease](t, kv, "lease")
		return ok && r >= rev+3
	}, "three refreshes")
	if a.holder.terms() != 0 {
		t.Error("stamping unprepared")
	}
	close(gate)
	a.begins(t, 1)
}

// A process that was paused longer than the TTL may find another in its place, so it waits for an answer.
func TestPauseWaitsForAnAnsweredRefresh(t *testing.T) {
	srv := natstest.Start(t)
	a := contend(t, srv, "a", 0, &holder{})
	first := a.begins(t, 1)
	srv.Stop()
	natstest.Eventually(t, patience, func() bool { return a.Unanswered() > 0 }, "an unanswered refresh")
	if a.holder.keptUntil().Before(a.clock.now()) {
		t.Fatal("unanswered, and no longer allowed to stamp")
	}
	a.clock.jump(TTL + 2*time.Second)
	n := a.Unanswered()
	natstest.Eventually(t, patience, func() bool { return a.Unanswered() > n+2 }, "unanswered refreshes after the pause")
	if !a.holder.keptUntil().Before(a.clock.now()) {
		t.Fatal("allowed to stamp after a pause without an answer")
	}
	if err := a.condition.Err(); err == nil || !strings.Contains(err.Error(), "paused") {
		t.Errorf("readiness says %v", err)
	}
	srv.Restart()
	natstest.Eventually(t, patience, func() bool {
		return a.holder.keptUntil().After(a.clock.now()) && a.condition.Err() == nil
	}, "allowed again")
	if a.holder.current() != first || a.holder.terms() != 1 {
		t.Errorf("epoch %d, want still %d", a.holder.current(), first)
	}
}

// A pause between the refresh and the beginning of the epoch: another may have the lease by then.
func TestPauseBeforeTheEpoch(t *testing.T) {
	srv := natstest.Start(t)
	h, c := &holder{}, &clock{}
	js, err := jetstream.New(srv.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	l := New(Options{
		JetStream: js, Instance: "a", Replicas: 1, Holder: h,
		Log: slog.New(slog.DiscardHandler), Now: c.now, Ready: func() {},
	})
	rev, ok := l.win(t.Context())
	if !ok {
		t.Fatal("not won")
	}
	term := &term{l: l, rev: rev}
	l.alive = c.now()
	c.jump(TTL + 2*time.Second)
	if l.begin(t.Context(), term, 0) || h.terms() != 0 || term.epoch != 0 {
		t.Errorf("an epoch began after the pause, without an answered refresh")
	}
	if answered, err := term.refresh(t.Context()); !answered || err != nil {
		t.Fatalf("refresh: %t, %v", answered, err)
	}
	l.paused = false
	if !l.begin(t.Context(), term, 0) || h.terms() != 1 || h.keptUntil().Before(c.now()) {
		t.Errorf("no epoch after the answered refresh")
	}
}
