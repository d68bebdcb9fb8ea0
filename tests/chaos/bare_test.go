package chaos

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lxzan/gws"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
)

// The SDK hides what an edge may do wrong: it drops a price that goes back, and tells by itself of one that it missed. A
// bare viewer takes what the edge says. With each connection it begins anew.

// bareAgain is how long one waits before the next edge.
const bareAgain = 100 * time.Millisecond

type bareMessage struct {
	Op       string
	Symbol   string
	Epoch    uint64
	Seq      uint64
	Price    tickfan.Decimal
	From, To uint64
	Code     string
}

// bare is the connection of one.
type bare struct {
	gws.BuiltinEventHandler
	v *viewer
}

func startBare(t *testing.T, name string, addresses []string, says func(string, ...any), every bool, symbols []string) *viewer {
	t.Helper()
	v := &viewer{name: name, every: every, says: says}
	v.forgetAll(symbols)
	mode := "latest"
	if every {
		mode = "every"
	}
	subscribe, err := json.Marshal(map[string]any{"op": "subscribe", "id": 1, "symbols": symbols, "mode": mode})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var open atomic.Pointer[gws.Conn]
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ctx.Err() == nil; n++ {
			ws, _, err := gws.NewClient(&bare{v: v}, &gws.ClientOption{
				Addr: "ws://" + addresses[n%len(addresses)] + "/v1/ws", HandshakeTimeout: 2 * time.Second,
			})
			if err == nil {
				open.Store(ws)
				if ctx.Err() != nil {
					_ = ws.NetConn().Close()
				}
				v.say(tickfan.Connected{})
				_ = ws.WriteMessage(gws.OpcodeText, subscribe) // the reader sees that it failed
				ws.ReadLoop()
				v.say(tickfan.Disconnected{})
				v.forgetAll(symbols)
			}
			select {
			case <-ctx.Done():
			case <-time.After(bareAgain):
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		if ws := open.Load(); ws != nil {
			_ = ws.NetConn().Close()
		}
		<-ended
	})
	return v
}

func (v *viewer) forgetAll(symbols []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.symbols = map[string]*view{}
	for _, s := range symbols {
		v.symbols[s] = &view{}
	}
}

func (v *viewer) say(e tickfan.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.take(e)
}

func (b *bare) OnMessage(_ *gws.Conn, message *gws.Message) {
	defer message.Close()
	var m bareMessage
	if err := json.Unmarshal(message.Bytes(), &m); err != nil {
		b.v.says("%s got %q: %v", b.v.name, message.Bytes(), err)
		return
	}
	switch m.Op {
	case "tick":
		b.v.say(tickfan.Tick{Symbol: m.Symbol, Position: tickfan.Position{Epoch: m.Epoch, Seq: m.Seq}, Quote: tickfan.Quote{Price: m.Price}})
	case "gap":
		b.v.say(tickfan.Gap{Symbol: m.Symbol, Epoch: m.Epoch, From: m.From, To: m.To})
	case "stale":
		b.v.say(tickfan.Stale{})
	case "fresh":
		b.v.say(tickfan.Fresh{})
	case "error":
		b.v.says("%s got %s", b.v.name, message.Bytes())
	}
}
