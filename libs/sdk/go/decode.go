package tickfan

import (
	"fmt"

	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/proto/wire"
)

// readTick reads a tick message in MessagePack without allocating. ok is false for anything else, well-formed or not:
// session.DecodeMessage then has the word. Nearly all that a client receives is ticks, and this reads one in about a
// third of the time (BenchmarkReadTick). symbol points into p.
func readTick(p []byte, t *Tick) (symbol []byte, ok bool) {
	r := wire.NewReader(p)
	isTick := false
	for range r.Map() {
		switch key := r.Str(); string(key) {
		case "op":
			if string(r.Str()) != session.OpTick {
				return nil, false
			}
			isTick = true
		case "symbol":
			symbol = r.Str()
		case "epoch":
			t.Epoch = r.Uint()
		case "seq":
			t.Seq = r.Uint()
		case "ts":
			t.TS = r.Int()
		default:
			if !readDecimal(&r, key, &t.Quote) {
				return nil, false
			}
		}
	}
	if !isTick || r.Err() != nil || r.Left() > 0 || checkTick(t) != nil {
		return nil, false
	}
	return symbol, true
}

func readDecimal(r *wire.Reader, key []byte, q *Quote) (ok bool) {
	for i, name := range tick.Names {
		if string(key) == name {
			d, err := tick.ParseDecimal(r.Str())
			*q.Fields()[i] = d
			return err == nil
		}
	}
	r.Skip()
	return true
}

// checkTick refuses what would break the order of a symbol or show as no price.
func checkTick(t *Tick) error {
	if t.Epoch == 0 || t.Seq == 0 || !t.Price.Given() {
		return fmt.Errorf("tick at position %d/%d with price %q", t.Epoch, t.Seq, t.Price)
	}
	return nil
}

func checkGap(g Gap) error {
	if g.Epoch == 0 || g.From == 0 || g.To != 0 && g.To < g.From {
		return fmt.Errorf("gap from %d to %d of epoch %d", g.From, g.To, g.Epoch)
	}
	return nil
}
