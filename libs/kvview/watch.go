package kvview

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// The server sends a heartbeat when it has nothing else to send; a watch that hears
	// nothing for muteAfter is dead.
	heartbeat = time.Second
	muteAfter = 3 * heartbeat

	// ask is how long one answer of JetStream is waited for.
	ask = 2 * time.Second

	// unwatched is how long the server keeps a consumer to which nobody listens.
	unwatched = 10 * time.Second
)

var (
	errGap   = errors.New("messages of the watch were lost")
	errEnded = errors.New("the watch ended")
)

// change is one message of a store: a key's new value, or its end.
type change struct {
	key      string
	value    []byte
	gone     bool
	revision uint64
	at       time.Time // by the server's clock
}

// watch is one push consumer on a store: the last message of each key first, then every
// change, in the order of the stream. It is nats.go's ordered consumer without the mending:
// that one resumes behind the last sequence it saw, whatever stream it finds there, and its
// retries outlive its owner. Here a gap is an error, and the View opens another watch.
type watch struct {
	nc      *nats.Conn
	stream  jetstream.Stream
	created time.Time // of the stream
	prefix  string    // of every key's subject
	name    string    // of the consumer

	sub   *nats.Subscription
	msgs  chan *nats.Msg
	stop  chan struct{} // closed by close
	ended chan struct{} // closed once nats.go's goroutine of sub has ended

	// Of the goroutine that takes the messages.
	consumer uint64    // consumer sequence of the last message
	position uint64    // stream sequence up to which all has been delivered
	drained  bool      // the consumer had no more to deliver at its last message
	heard    time.Time // last sign of life
	failed   bool      // take gave an error
}

// openWatch opens a watch. The caller closes it.
func openWatch(ctx context.Context, nc *nats.Conn, stream jetstream.Stream, store string) (*watch, error) {
	w := &watch{
		nc:      nc,
		stream:  stream,
		created: stream.CachedInfo().Created,
		prefix:  "$KV." + store + ".",
		msgs:    make(chan *nats.Msg, 256),
		stop:    make(chan struct{}),
		ended:   make(chan struct{}),
		heard:   time.Now(),
	}
	inbox := nc.NewInbox()
	var err error
	w.sub, err = nc.Subscribe(inbox, func(m *nats.Msg) {
		select {
		case w.msgs <- m:
		case <-w.stop:
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	w.sub.SetClosedHandler(func(string) { close(w.ended) })
	if !w.sub.IsValid() { // the connection was closed: the handler may have come too late
		return nil, nats.ErrConnectionClosed
	}
	if err := w.start(ctx, inbox); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// start makes the consumer.
func (w *watch) start(ctx context.Context, inbox string) error {
	// The server's flow control bounds what is pending to 32 MB.
	if err := w.sub.SetPendingLimits(-1, -1); err != nil {
		return fmt.Errorf("set pending limits: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	c, err := w.stream.CreatePushConsumer(ctx, jetstream.ConsumerConfig{
		Description:       "live view",
		DeliverSubject:    inbox,
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		FilterSubject:     w.prefix + ">",
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		FlowControl:       true,
		IdleHeartbeat:     heartbeat,
		InactiveThreshold: unwatched,
	})
	if err != nil {
		return fmt.Errorf("create consumer: %w", err)
	}
	info := c.CachedInfo()
	w.name = info.Name
	w.drained = info.NumPending == 0 && info.Delivered.Consumer == 0
	return nil
}

// remove removes the consumer at once, where the server can be asked.
func (w *watch) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	// Where it fails, nobody listens to the consumer, and the server removes it soon.
	_ = w.stream.DeleteConsumer(ctx, w.name)
}

// close ends the watch without a word to the server, which may be gone; it removes the
// consumer by itself.
func (w *watch) close() {
	close(w.stop)
	// It fails when the connection is closed, and then the subscription has ended too.
	_ = w.sub.Unsubscribe()
	<-w.ended
}

// messages is what the watch delivers; of none, or of one that failed, nothing.
func (w *watch) messages() <-chan *nats.Msg {
	if w == nil || w.failed {
		return nil
	}
	return w.msgs
}

// follows says whether w watches the same stream as other, so that revisions compare.
func (w *watch) follows(other *watch) bool {
	return w != nil && w.created.Equal(other.created)
}

// take reads a message out of w.msgs; ok is false for one that changes no key. After an
// error the watch is of no more use.
func (w *watch) take(m *nats.Msg) (c change, ok bool, err error) {
	defer func() { w.failed = err != nil }()
	w.heard = time.Now()
	if status := m.Header.Get("Status"); status != "" {
		return change{}, false, w.control(m, status)
	}
	meta, err := m.Metadata()
	if err != nil {
		return change{}, false, fmt.Errorf("read metadata: %w", err)
	}
	if meta.Sequence.Consumer != w.consumer+1 {
		return change{}, false, errGap
	}
	w.consumer = meta.Sequence.Consumer
	w.position = meta.Sequence.Stream
	w.drained = meta.NumPending == 0
	key, ok := strings.CutPrefix(m.Subject, w.prefix)
	return change{
		key:      key,
		value:    m.Data,
		gone:     isMarker(m.Header),
		revision: meta.Sequence.Stream,
		at:       meta.Timestamp,
	}, ok, nil
}

// control answers the server's flow control and checks what its heartbeat says.
func (w *watch) control(m *nats.Msg, status string) error {
	if status != "100" {
		return fmt.Errorf("%w: %s %s", errEnded, status, m.Header.Get("Description"))
	}
	if m.Reply != "" { // the server waits to hear that all before this was taken
		if err := m.Respond(nil); err != nil {
			return fmt.Errorf("answer flow control: %w", err)
		}
		return nil
	}
	if last := m.Header.Get("Nats-Last-Consumer"); last != "" {
		if n, err := strconv.ParseUint(last, 10, 64); err != nil || n != w.consumer {
			return errGap
		}
	}
	if stalled := m.Header.Get("Nats-Consumer-Stalled"); stalled != "" {
		if err := w.nc.Publish(stalled, nil); err != nil {
			return fmt.Errorf("answer flow control: %w", err)
		}
	}
	return nil
}

// isMarker tells a message that ends its key: made by a client's delete or purge, or by the
// server when a key's time was up.
func isMarker(h nats.Header) bool {
	op := h.Get("KV-Operation")
	return op == "DEL" || op == "PURGE" || op == "" && h.Get(jetstream.MarkerReasonHeader) != ""
}

// isPast says whether all messages up to sequence target have been delivered. "No more
// pending" is the word of the consumer, which may live on a replica that lags, so it counts
// only when the stream has none either: the message target may be gone itself.
func (w *watch) isPast(ctx context.Context, target uint64) (bool, error) {
	if w.position >= target {
		return true, nil
	}
	if !w.drained {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	_, err := w.stream.GetMsg(ctx, w.position+1, jetstream.WithGetMsgSubject(w.prefix+">"))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		w.position = target
		return true, nil
	case err != nil:
		return false, fmt.Errorf("look for messages after %d: %w", w.position, err)
	}
	w.drained = false // it is on its way
	return false, nil
}
