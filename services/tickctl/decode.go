package tickctl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
	"github.com/tickfan/tickfan/proto/wire"
)

type decode struct{}

// Run reads all of stdin as one payload.
func (*decode) Run(s Streams) error {
	p, err := io.ReadAll(s.In)
	if err != nil {
		return fmt.Errorf("read stdin: %w", err)
	}
	line, err := toJSON(p)
	if err != nil {
		return err
	}
	_, err = s.Out.Write(append(line, '\n'))
	return err
}

// toJSON gives a payload of any subject of Tickfan as one line of JSON: what has a wire.Kind by its fields, a price
// in MessagePack as ingest takes it by its own, and JSON (a bare price is JSON, too) as it is.
func toJSON(p []byte) ([]byte, error) {
	if len(p) == 0 {
		return nil, errors.New("nothing on stdin: give one NATS payload")
	}
	if p[0] < 0x80 {
		return oneLine(p)
	}
	if p[0]&0xf0 == 0x80 || p[0] == 0xde || p[0] == 0xdf {
		return quoteJSON(p)
	}
	kind, err := wire.KindOf(p)
	if err != nil {
		return nil, fmt.Errorf("payload of %d bytes, %s: neither JSON nor a message of Tickfan", len(p), code.Quote(p))
	}
	switch kind {
	case wire.KindTick:
		return tickJSON(p)
	case wire.KindBeat:
		return beatJSON(p)
	case wire.KindBatch:
		return batchJSON(p)
	case wire.KindInterest:
		return interestJSON(p)
	case wire.KindRouterBeat:
		return routerBeatJSON(p)
	case wire.KindNewestRequest:
		return newestRequestJSON(p)
	case wire.KindNewestAnswer:
		return newestAnswerJSON(p)
	}
	return nil, fmt.Errorf("payload of %d bytes is of kind %d, which this version does not know", len(p), kind)
}

func oneLine(p []byte) ([]byte, error) {
	p = bytes.TrimSpace(p)
	if !json.Valid(p) {
		return nil, fmt.Errorf("payload of %d bytes, %s: neither JSON nor a message of Tickfan", len(p), code.Quote(p))
	}
	if !bytes.ContainsAny(p, "\r\n") {
		return p, nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, p); err != nil {
		return nil, fmt.Errorf("compact JSON: %w", err)
	}
	return b.Bytes(), nil
}

// quoteJSON reads a price in MessagePack as it is published on ingest.<symbol>.
func quoteJSON(p []byte) ([]byte, error) {
	notGiven := time.UnixMicro(math.MaxInt64 / 2) // as "now" it marks a missing ts, and lets any other pass
	q, err := tick.ParseQuote(p, notGiven)
	if err != nil {
		return nil, err
	}
	line := []byte(`{"kind":"price"`)
	for i, d := range q.Fields() {
		if d.Given() {
			line = fmt.Appendf(line, `,"%s":"%s"`, tick.Names[i], d)
		}
	}
	if q.TS != notGiven.UnixMicro() {
		line = fmt.Appendf(line, `,"ts":%d`, q.TS)
	}
	return append(line, '}'), nil
}

func tickJSON(p []byte) ([]byte, error) {
	t, err := tick.Decode(p)
	if err != nil {
		return nil, err
	}
	line := fmt.Appendf(nil, `{"kind":"tick","symbol":"%s","epoch":%d,"seq":%d`, t.Symbol, t.Epoch, t.Seq)
	for i, d := range t.Fields() {
		if d.Given() {
			line = fmt.Appendf(line, `,"%s":"%s"`, tick.Names[i], d)
		}
	}
	line = fmt.Appendf(line, `,"ts":%d,"at":%d`, t.TS, t.At)
	if t.Prev != (tick.Position{}) {
		line = fmt.Appendf(line, `,"prev":[%d,%d]`, t.Prev.Epoch, t.Prev.Seq)
	}
	if t.Again {
		line = append(line, `,"again":true`...)
	}
	return append(line, '}'), nil
}

func beatJSON(p []byte) ([]byte, error) {
	m, err := tick.DecodeBeat(p)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Kind  string `json:"kind"`
		Epoch uint64 `json:"epoch"`
		Count uint64 `json:"count"`
		Time  int64  `json:"time"`
	}{"beat", m.Epoch, m.Count, m.Time})
}

func batchJSON(p []byte) ([]byte, error) {
	var b tick.Batch
	if err := b.Decode(p); err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Kind      string                `json:"kind"`
		Router    string                `json:"router"`
		Number    uint64                `json:"number"`
		BeatAgeMS int64                 `json:"beat_age_ms"`
		Interest  [subject.Parts]uint64 `json:"interest"`
		Items     []any                 `json:"items"`
	}{"batch", b.Router, b.Number, b.BeatAge, b.Interest, items(b.Items)})
}

func interestJSON(p []byte) ([]byte, error) {
	a, err := control.DecodeAnnouncement(p)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Kind    string         `json:"kind"`
		Bucket  subject.Bucket `json:"bucket"`
		Part    int            `json:"part"`
		Number  uint64         `json:"number"`
		Symbols control.Set    `json:"symbols"`
	}{"interest", a.Bucket, a.Part, a.Number, a.Symbols})
}

func routerBeatJSON(p []byte) ([]byte, error) {
	m, err := control.DecodeRouterBeat(p)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Kind     string `json:"kind"`
		Instance string `json:"instance"`
		Ready    bool   `json:"ready"`
		Leaving  bool   `json:"leaving"`
	}{"router_beat", m.Instance, m.Ready, m.Leaving})
}

// newestRequestJSON gives null for all symbols; a range is told as such.
func newestRequestJSON(p []byte) ([]byte, error) {
	m, err := tick.DecodeNewestRequest(p)
	if err != nil {
		return nil, err
	}
	if g := m.Range; g.Symbol != "" {
		return json.Marshal(struct {
			Kind   string         `json:"kind"`
			Symbol subject.Symbol `json:"symbol"`
			Epoch  uint64         `json:"epoch"`
			From   uint64         `json:"from"`
			To     uint64         `json:"to"`
		}{"newest_request", g.Symbol, g.Epoch, g.From, g.To})
	}
	return json.Marshal(struct {
		Kind    string           `json:"kind"`
		Symbols []subject.Symbol `json:"symbols"`
	}{"newest_request", m.Symbols})
}

func newestAnswerJSON(p []byte) ([]byte, error) {
	m, err := tick.DecodeNewestAnswer(p)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Kind    string           `json:"kind"`
		Last    bool             `json:"last"`
		Ticks   []any            `json:"ticks"`
		Missing []subject.Symbol `json:"missing,omitempty"`
		Lack    tick.Lack        `json:"lack,omitempty"`
	}{"newest_answer", m.Last, items(m.Ticks), m.Missing, m.Lack})
}

// items gives payloads within a payload. One that cannot be read must not hide the others.
func items(payloads [][]byte) []any {
	all := make([]any, 0, len(payloads))
	for _, p := range payloads {
		line, err := itemJSON(p)
		if err != nil {
			all = append(all, map[string]string{"error": err.Error()})
			continue
		}
		all = append(all, json.RawMessage(line))
	}
	return all
}

// itemJSON takes ticks only: a batch in a batch would be a way to nest without end.
func itemJSON(p []byte) ([]byte, error) {
	kind, err := wire.KindOf(p)
	if err != nil {
		return nil, err
	}
	if kind != wire.KindTick {
		return nil, fmt.Errorf("item of kind %d, which this version does not know", kind)
	}
	return tickJSON(p)
}
