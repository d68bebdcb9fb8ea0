package ingest

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lxzan/gws"
	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
	"github.com/tickfan/tickfan/libs/ops"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/services/ingest/internal/stamp"
	"github.com/tickfan/tickfan/services/ingest/internal/standby"
)

func TestStampAcrossRestarts(t *testing.T) {
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	sub := listen(t, nc, "ticks.>")
	beats := listen(t, nc, subject.Beat)
	js := streams(t, nc)

	a := start(t, srv.URL())
	a.waitReady(t)
	for seq := range uint64(3) {
		if got := ask(t, nc, "ingest.BTC-USD", `{"price":"64123.51"}`); !got.OK || got.Seq != seq+1 {
			t.Fatalf("%+v %v", got, got.Error)
		}
	}
	first := next(t, sub)
	if first.Seq != 1 || first.Prev != (tick.Position{}) || first.Price.String() != "64123.51" || first.At == 0 || first.TS == 0 {
		t.Fatalf("%+v", first)
	}
	next(t, sub)
	last := next(t, sub)
	natstest.Eventually(t, patience, func() bool {
		m, err := beats.NextMsg(patience)
		if err != nil {
			return false
		}
		b, err := tick.DecodeBeat(m.Data)
		return err == nil && b.Epoch == first.Epoch && b.Count == 3
	}, "a beat that counts 3")
	a.stop()

	// A restart begins a new epoch and names the last tick before it.
	b := start(t, srv.URL())
	b.waitReady(t)
	if got := ask(t, nc, "ingest.BTC-USD", "64000"); !got.OK || got.Epoch <= first.Epoch || got.Seq != 1 {
		t.Fatalf("%+v %v", got, got.Error)
	}
	second := next(t, sub)
	if second.Prev != last.Position {
		t.Errorf("prev %v, want %v", second.Prev, last.Position)
	}
	b.stop()

	// So it does when LEADER is gone.
	if err := js.DeleteKeyValue(t.Context(), subject.KVLeader); err != nil {
		t.Fatal(err)
	}
	c := start(t, srv.URL(), "--history", "2")
	c.waitReady(t)
	ask(t, nc, "ingest.BTC-USD", "64001")
	third := next(t, sub)
	if third.Epoch <= second.Epoch || third.Prev != second.Position {
		t.Errorf("%v after %v, want above and after %v", third.Position, third.Prev, second.Position)
	}
	stream, err := js.Stream(t.Context(), subject.StreamTicks)
	if err != nil {
		t.Fatal(err)
	}
	if info := stream.CachedInfo(); info.Config.MaxMsgsPerSubject != 2 || info.State.Msgs != 2 {
		t.Errorf("history %d with %d messages, want 2", info.Config.MaxMsgsPerSubject, info.State.Msgs)
	}

	// TICKS deleted under it is made again.
	if err := js.DeleteStream(t.Context(), subject.StreamTicks); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() bool { _, err := js.Stream(context.Background(), subject.StreamTicks); return err == nil }, "TICKS stands again")
}

func TestOnlyOneStampsAndTheOtherTakesOver(t *testing.T) {
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	sub := listen(t, nc, "ticks.>")
	link := natstest.NewCable(t, srv.URL())
	a := start(t, link.URL())
	a.waitReady(t)
	b := start(t, srv.URL())
	b.waitReady(t) // to take over
	if s := b.get("/readyz"); !strings.Contains(s, `"standby: ingest-`) || b.metric("tickfan_ingest_epoch") != 0 {
		t.Errorf("b says %s, in epoch %v", s, b.metric("tickfan_ingest_epoch"))
	}

	var last tick.Tick
	for range 20 {
		if got := ask(t, nc, "ingest.BTC-USD", "1"); !got.OK {
			t.Fatal(got.Error)
		}
		last = next(t, sub)
	}
	if n, _, _ := sub.Pending(); n != 0 || last.Seq != 20 {
		t.Fatalf("%d more ticks than prices, seq %d", n, last.Seq)
	}

	// a dies, or rather seems to. What is published before another one leads is stamped and answered by that.
	link.Cut()
	m, err := nc.Request("ingest.ETH-USD", []byte("7"), patience)
	if err != nil {
		t.Fatalf("published while nobody stamps: %v", err)
	}
	var held control.IngestAnswer
	if err := json.Unmarshal(m.Data, &held); err != nil || !held.OK || held.Epoch <= last.Epoch {
		t.Fatalf("%s, %v", m.Data, err)
	}
	if tk := next(t, sub); tk.Symbol != "ETH-USD" || tk.Position != (tick.Position{Epoch: held.Epoch, Seq: held.Seq}) || tk.Price.String() != "7" {
		t.Errorf("%+v", tk)
	}
	natstest.Eventually(t, patience, func() bool { return b.mux.Ready() && strings.Contains(b.get("/readyz"), "leads in epoch") }, "b says that it leads")
	if e := b.metric("tickfan_ingest_epoch"); e != float64(held.Epoch) {
		t.Errorf("b stamps in epoch %v, want %d", e, held.Epoch)
	}
	got := ask(t, nc, "ingest.BTC-USD", "2")
	if !got.OK || got.Epoch <= last.Epoch || got.Seq != 1 {
		t.Fatalf("%+v %v", got, got.Error)
	}
	if tk := next(t, sub); tk.Prev != last.Position {
		t.Errorf("prev %v, want %v", tk.Prev, last.Position)
	}
	if a.metric("tickfan_ingest_epoch") != float64(last.Epoch) {
		t.Errorf("a stopped without proof")
	}

	// It comes back and finds that it is no more the one.
	link.Mend()
	natstest.Eventually(t, patience, func() bool { return a.mux.Ready() && strings.Contains(a.get("/readyz"), "standby: ingest-") }, "a stands by")
	for range 20 {
		if got := ask(t, nc, "ingest.BTC-USD", "3"); !got.OK {
			t.Fatal(got.Error)
		}
		if tk := next(t, sub); tk.Epoch != got.Epoch {
			t.Errorf("a tick of epoch %d besides %d", tk.Epoch, got.Epoch)
		}
	}
	if n, _, _ := sub.Pending(); n != 0 {
		t.Errorf("%d more ticks than prices", n)
	}
	if a.metric("tickfan_ingest_epoch") != 0 || a.metric("tickfan_ingest_lease_lost_total") != 1 {
		t.Errorf("a: epoch %v, lost %v", a.metric("tickfan_ingest_epoch"), a.metric("tickfan_ingest_lease_lost_total"))
	}
}

// A tick that the leader has stamped and TICKS did not take, say for a full disk, would be missed for good by who missed it
// once. So the next leader, who has heard it, brings it there, and goes on from it.
func TestTakeOverBringsWhatTICKSLacks(t *testing.T) {
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	link := natstest.NewCable(t, srv.URL())
	a := start(t, link.URL())
	a.waitReady(t)
	b := start(t, srv.URL())
	natstest.Eventually(t, patience, func() bool { return strings.Contains(b.get("/readyz"), "holds the lease") }, "b stands by")
	sub := listen(t, nc, "ticks.>")
	ask(t, nc, "ingest.BTC-USD", "1")
	lost := ask(t, nc, "ingest.BTC-USD", "2")
	next(t, sub)
	next(t, sub)
	stream, err := streams(t, nc).Stream(t.Context(), subject.StreamTicks)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, func() bool {
		m, err := stream.GetLastMsgForSubject(t.Context(), "ticks.BTC-USD")
		return err == nil && m.Sequence == 2
	}, "TICKS has it")
	if err := stream.DeleteMsg(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	link.Cut()
	b.waitReady(t)
	again := next(t, sub)
	if want := (tick.Position{Epoch: lost.Epoch, Seq: lost.Seq}); again.Position != want || !again.Again || again.Price.String() != "2" {
		t.Errorf("%+v, want %v again", again, want)
	}
	if n := b.metric("tickfan_ingest_published_again_total"); n != 1 {
		t.Errorf("%v ticks are counted as published again", n)
	}
	ask(t, nc, "ingest.BTC-USD", "3")
	if tk := next(t, sub); tk.Prev != again.Position {
		t.Errorf("%+v comes after %v, want %v", tk, tk.Prev, again.Position)
	}
}

func TestMetrics(t *testing.T) {
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	r := start(t, srv.URL(), "--max-symbols", "2")
	r.waitReady(t)
	for _, in := range [][2]string{
		{"ingest.A", "1"}, {"ingest.B", "1"}, {"ingest.C", "1"}, {"ingest.A", "abc"}, {"ingest.A", "-1"}, {"ingest.a", "1"}, {"ingest.A", "2"},
	} {
		ask(t, nc, in[0], in[1])
	}
	for _, c := range []struct {
		want  float64
		name  string
		label string
	}{
		{3, "tickfan_ingest_ticks_total", `source="ingest"`},
		{1, "tickfan_ingest_refused_total", `code="too_many_symbols"`},
		{1, "tickfan_ingest_refused_total", `code="bad_message"`},
		{1, "tickfan_ingest_refused_total", `code="bad_price"`},
		{1, "tickfan_ingest_refused_total", `code="bad_symbol"`},
		{2, "tickfan_ingest_symbols", ""},
		{0, "tickfan_nats_dropped_total", `subscription="ingest"`},
	} {
		if got := r.metric(c.name, c.label); got != c.want {
			t.Errorf("%s{%s} is %v, want %v", c.name, c.label, got, c.want)
		}
	}
	for _, name := range []string{"tickfan_ingest_epoch", "tickfan_ingest_coinbase_gaps_total", "tickfan_ingest_lease_unanswered_total", "tickfan_nats_disconnects_total"} {
		if !strings.Contains(r.get("/metrics"), "\n"+name) {
			t.Errorf("no %s", name)
		}
	}
}

func TestGeneratorLeavesAnOutsidePriceAlone(t *testing.T) {
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	sub := listen(t, nc, "ticks.>")
	r := start(t, srv.URL(), "--source", "generator", "--generator-seed", "4")
	r.waitReady(t)
	for next(t, sub).Symbol != "BTC-USD" {
	}
	got := ask(t, nc, "ingest.BTC-USD", `{"price":"1.23"}`)
	if !got.OK {
		t.Fatal(got.Error)
	}
	for seen, others := false, 0; others < 100; {
		tk := next(t, sub)
		switch {
		case tk.Symbol != "BTC-USD":
			if seen {
				others++
			}
		case tk.Price.String() == "1.23":
			seen = true
		case seen:
			t.Fatalf("BTC-USD at %s after it was published as 1.23", tk.Price)
		}
	}
	if r.metric("tickfan_ingest_ticks_total", `source="generator"`) < 100 {
		t.Error("the generator's ticks are not counted")
	}
}

// hello is an exchange of one answer: the ack and a ticker.
type hello struct{ gws.BuiltinEventHandler }

func (hello) OnMessage(ws *gws.Conn, m *gws.Message) {
	defer m.Close()
	for _, f := range []string{
		`{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["BTC-USD"]},{"name":"heartbeat","product_ids":["BTC-USD"]}]}`,
		`{"type":"ticker","sequence":7,"product_id":"BTC-USD","price":"62975.90","best_bid":"62975.90","best_ask":"62975.91","time":"2025-07-08T01:56:01.617651Z","trade_id":5,"last_size":"0.1"}`,
	} {
		_ = ws.WriteString(f)
	}
}

func TestCoinbaseSource(t *testing.T) {
	exchange := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := gws.NewUpgrader(hello{}, nil).Upgrade(w, r)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		ws.ReadLoop()
	}))
	defer exchange.Close()
	srv := natstest.Start(t)
	sub := listen(t, srv.Connect(t), "ticks.BTC-USD")
	r := start(t, srv.URL(), "--source", "coinbase", "--coinbase-url", "ws"+strings.TrimPrefix(exchange.URL, "http"), "--coinbase-products", "BTC-USD")
	tk := next(t, sub)
	if tk.Price.String() != "62975.90" || tk.Ask.String() != "62975.91" || tk.TS != time.Date(2025, 7, 8, 1, 56, 1, 617651000, time.UTC).UnixMicro() {
		t.Errorf("%+v", tk)
	}
	r.stop()
}

func TestStopBeforeNATSIsThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	cfg, err := parse(t, "--nats", "nats://"+addr)
	if err != nil {
		t.Fatal(err)
	}
	mux, err := ops.New("ingest")
	if err != nil {
		t.Fatal(err)
	}
	defer mux.Close(context.Background())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := Run(ctx, cfg, Deps{Log: slog.New(slog.DiscardHandler), Ops: mux}); err == nil {
		t.Error("no error, though it never ran")
	}
}

// With the server away a stop is still a stop.
func TestStopWhileNATSIsAway(t *testing.T) {
	srv := natstest.Start(t)
	r := start(t, srv.URL(), "--source", "generator")
	r.waitReady(t)
	srv.Stop()
	began := time.Now()
	r.stop()
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("took %s", d)
	}
}

// However long it takes to answer those whose prices were held, the lease is kept meanwhile.
func TestTakeOverHoldsNothingUp(t *testing.T) {
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	s := &service{
		deps: Deps{Log: slog.New(slog.DiscardHandler)}, first: make(chan struct{}), may: make(chan struct{}, 1),
		stamper: stamp.New(nc, 10, time.Now),
	}
	s.held = standby.New(keepHeld, 10, s.active)
	gate, came := make(chan struct{}), make(chan struct{})
	s.held.Hold("BTC-USD", tick.Quote{}, time.Now(), func() bool { close(came); <-gate; return true })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.takeOver(ctx) }()
	s.Won()
	s.Keep(time.Now().Add(time.Minute))
	s.Begin(7)
	<-came
	s.Keep(time.Now().Add(time.Minute))
	s.End()
	close(gate)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A price that comes as soon as somebody stamps comes to stand in TICKS at once, is known to, and is not published again.
func TestFirstTickIsKnownToStand(t *testing.T) {
	srv := natstest.Start(t)
	nc := srv.Connect(t)
	for range 3 { // a moment of the start
		a := start(t, srv.URL())
		a.waitReady(t)
		m := nats.NewMsg("ingest.SLOW-USD")
		m.Data = []byte("1")
		m.Header.Set(control.HeaderWait, control.WaitStored)
		reply, err := nc.RequestMsg(m, patience)
		if err != nil {
			t.Fatal(err)
		}
		var got control.IngestAnswer
		if err := json.Unmarshal(reply.Data, &got); err != nil || !got.OK {
			t.Fatalf("%s, %v", reply.Data, err)
		}
		if n := a.metric("tickfan_ingest_published_again_total"); n != 0 {
			t.Errorf("%v ticks published again in peace", n)
		}
		a.stop()
	}
}
