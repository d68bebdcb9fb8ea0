package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

const (
	// firstLook is how many messages before the symbol's last one the range's beginning is first looked for.
	firstLook = 4096
	// looks is how often it is looked for before the symbol's ticks are read from the first one on.
	looks = 6
	// fetchMost messages are asked for at once, and fetchLeast where it cannot be told how many it takes.
	fetchMost  = 1000
	fetchLeast = 200
	// forgotten is when the server itself removes a consumer that nobody could delete.
	forgotten = 10 * time.Second
)

// Read gives the ticks of a range as far as TICKS holds them, in order, each once, and why there are not more. With an
// error the lack is tick.Refused, and the ticks are what was read until then.
//
// Ticks of a symbol lie anywhere in the stream, and nothing tells where a position is. Measured (BenchmarkRead), with
// 20,000 symbols whose ticks lie evenly among each other, each tick of one costs the server 0.4 to 2 ms, as its block is
// at hand or must be loaded, however it is asked for (with 2,000 symbols 0.2 ms); so a read from the symbol's first tick
// on would cost what its history is long, for a hole that is nearly always of the last seconds. Therefore the beginning
// is looked for first, from the end backwards: a look ("the symbol's next message from sequence n on") costs 0.1 to
// 0.4 ms.
//
// The ticks themselves come by a consumer. A direct get of many messages costs the same, but the server carries it out
// in the read loop of the connection that asks, where the router's own batches would wait behind it, and lets nothing be
// stored meanwhile.
func Read(ctx context.Context, js jetstream.JetStream, g tick.Range) ([][]byte, tick.Lack, error) {
	ticks, lack, err := read(ctx, js, g)
	if err != nil {
		return ticks, tick.Refused, fmt.Errorf("read range of %s: %w", g.Symbol, err)
	}
	return ticks, lack, nil
}

func read(ctx context.Context, js jetstream.JetStream, g tick.Range) ([][]byte, tick.Lack, error) {
	stream, err := js.Stream(ctx, subject.StreamTicks)
	if err != nil {
		return nil, tick.Refused, err
	}
	from, last, err := locate(ctx, stream, g)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound): // none of the symbol
		if fills(stream.CachedInfo().Mirror) {
			return nil, tick.Ahead, nil
		}
		return nil, tick.Gone, nil
	case err != nil:
		return nil, tick.Refused, fmt.Errorf("look for its beginning: %w", err)
	case last.Epoch < g.Epoch || last.Epoch == g.Epoch && last.Seq < g.From:
		return nil, tick.Ahead, nil
	}
	c := collector{want: g}
	if err := c.collect(ctx, js, from); err != nil {
		return c.ticks, tick.Refused, err
	}
	return c.ticks, c.lack(last), nil
}

// fills tells whether a mirror may lack what home has: it fills in home's order, so a symbol may not have come to it yet.
func fills(mirror *jetstream.StreamSourceInfo) bool {
	return mirror != nil && (mirror.Lag > 0 || mirror.Active < 0)
}

// found is a message of the symbol: where it lies in the stream, and in the symbol's order.
type found struct {
	seq uint64
	tick.Position
}

// locate gives a message from which on all of g is found, one of sequence 0 for the symbol's first, and the symbol's
// last tick.
func locate(ctx context.Context, stream jetstream.Stream, g tick.Range) (from found, last tick.Position, err error) {
	subj := subject.Ticks(g.Symbol)
	end, err := head(stream.GetLastMsgForSubject(ctx, subj))
	if err != nil {
		return found{}, tick.Position{}, err
	}
	begin := tick.Position{Epoch: g.Epoch, Seq: g.From}
	if !end.After(begin) {
		return end, end.Position, nil
	}
	back := uint64(firstLook)
	for range looks {
		if back >= end.seq {
			break
		}
		m, err := head(stream.GetMsg(ctx, end.seq-back, jetstream.WithGetMsgSubject(subj)))
		if err != nil {
			return found{}, tick.Position{}, err
		}
		if !m.After(begin) {
			return m, end.Position, nil
		}
		back = farther(back, m, end, begin)
	}
	return found{}, end.Position, nil
}

// farther is how far back to look next: where the symbol's ticks so far would lead one to expect the range, and a
// quarter more; far more where they tell nothing.
func farther(back uint64, m, end found, begin tick.Position) uint64 {
	if m.Epoch != begin.Epoch || end.Epoch != begin.Epoch || m.Seq == end.Seq {
		return back * 16
	}
	each := (end.seq-m.seq)/(end.Seq-m.Seq) + 1
	return max(back*2, each*(end.Seq-begin.Seq+1)*5/4)
}

func head(m *jetstream.RawStreamMsg, err error) (found, error) {
	if err != nil {
		return found{}, err
	}
	h, err := tick.DecodeHead(m.Data)
	if err != nil {
		return found{}, fmt.Errorf("message %d of %s: %w", m.Sequence, subject.StreamTicks, err)
	}
	return found{m.Sequence, h.Position}, nil
}

// collector takes a symbol's messages in the stream's order and keeps those of the range.
type collector struct {
	want  tick.Range
	ticks [][]byte
	at    tick.Position // of the last one kept
	had   uint64        // messages that came
	past  bool          // the range's end
}

// lack tells why there are not more ticks, where last is the symbol's last one.
func (c *collector) lack(last tick.Position) tick.Lack {
	missing := c.want.Len() - uint64(len(c.ticks))
	switch end := (tick.Position{Epoch: c.want.Epoch, Seq: c.want.To}); {
	case missing == 0:
		return tick.Nothing
	case end.After(last) && !c.past && last.Epoch == c.want.Epoch && missing == c.want.To-max(last.Seq, c.at.Seq):
		return tick.Ahead
	}
	return tick.Gone
}

// collect reads from a message on until the range's end, or the stream's.
func (c *collector) collect(ctx context.Context, js jetstream.JetStream, from found) error {
	cfg := jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverAllPolicy,
		FilterSubject:     subject.Ticks(c.want.Symbol),
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: forgotten,
		MemoryStorage:     true,
		Replicas:          1,
	}
	if from.seq > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from.seq
	}
	consumer, err := js.CreateConsumer(ctx, subject.StreamTicks, cfg)
	if err != nil {
		return fmt.Errorf("make consumer: %w", err)
	}
	defer func() {
		// Even when ctx has ended; a failure costs the server a consumer for some seconds.
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = js.DeleteConsumer(end, subject.StreamTicks, consumer.CachedInfo().Name)
	}()
	n := c.want.Len()
	if from.Epoch == c.want.Epoch && from.Seq < c.want.From {
		n += c.want.From - from.Seq
	}
	for left := consumer.CachedInfo().NumPending; left > 0 && !c.past; n = fetchLeast {
		if left, err = c.fetch(ctx, consumer, int(min(n, left, fetchMost))); err != nil {
			return err
		}
	}
	return nil
}

// fetch takes n messages and tells how many are left behind them.
func (c *collector) fetch(ctx context.Context, consumer jetstream.Consumer, n int) (left uint64, err error) {
	// No heartbeat: a server that is busy storing ticks was seen to miss them.
	msgs, err := consumer.Fetch(n, jetstream.FetchContext(ctx))
	if err != nil {
		return 0, fmt.Errorf("fetch: %w", err)
	}
	came := 0
	for m := range msgs.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return 0, fmt.Errorf("read metadata of %s: %w", m.Subject(), err)
		}
		if c.had++; meta.Sequence.Consumer != c.had {
			return 0, fmt.Errorf("message %d came where %d was due: one was lost", meta.Sequence.Consumer, c.had)
		}
		if err := c.take(m.Data()); err != nil {
			return 0, fmt.Errorf("message %d of %s: %w", meta.Sequence.Stream, subject.StreamTicks, err)
		}
		if came, left = came+1, meta.NumPending; left == 0 || c.past {
			return left, nil
		}
	}
	switch {
	case came == n:
		return left, nil
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case msgs.Error() != nil:
		return 0, fmt.Errorf("fetch: %w", msgs.Error())
	}
	return 0, fmt.Errorf("%d messages came of %d", came, n)
}

// take keeps a tick of the range. One may be stored twice (marked again), and one of an older epoch after newer ones.
func (c *collector) take(payload []byte) error {
	h, err := tick.DecodeHead(payload)
	if err != nil {
		return err
	}
	switch end := (tick.Position{Epoch: c.want.Epoch, Seq: c.want.To}); {
	case c.want.Holds(h.Position) && h.After(c.at):
		c.ticks, c.at = append(c.ticks, payload), h.Position
		c.past = h.Position == end
	case h.After(end):
		c.past = true
	}
	return nil
}
