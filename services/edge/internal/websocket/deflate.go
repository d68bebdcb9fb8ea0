package websocket

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
)

// permessage-deflate (RFC 7692), without context takeover on either side: a message is compressed by itself, so nothing is
// kept for a connection between two. Memory is what made windows too expensive: 32 KB a connection and direction.

const (
	extensionsHeader = "Sec-Websocket-Extensions"
	deflateName      = "permessage-deflate"
	// deflateAnswer is all that is ever agreed on.
	deflateAnswer = deflateName + "; server_no_context_takeover; client_no_context_takeover"

	rsv1 = 0x40 // the first frame of a compressed message
)

// deflateThreshold is from which length, in bytes, an answer is compressed. It costs the worker some 15 us at 200 symbols and
// saves 1.8 KB of 2.8 then; what is shorter has one packet anyway.
const deflateThreshold = 2 << 10

// offersDeflate tells whether one of a client's offers can be agreed on. One that asks for a smaller window of ours
// (server_max_window_bits) cannot, nor one with anything else that we do not know: RFC 7692 has it declined whole.
func offersDeflate(h http.Header) bool {
	return slices.ContainsFunc(h.Values(extensionsHeader), func(v string) bool {
		for offer := range strings.SplitSeq(v, ",") {
			if acceptable(offer) {
				return true
			}
		}
		return false
	})
}

func acceptable(offer string) bool {
	name, rest, more := strings.Cut(offer, ";")
	if !strings.EqualFold(strings.TrimSpace(name), deflateName) {
		return false
	}
	var seen []string
	for more {
		var p string
		p, rest, more = strings.Cut(rest, ";")
		name, value, valued := strings.Cut(p, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.Trim(strings.TrimSpace(value), `"`)
		switch {
		case slices.Contains(seen, name):
			return false
		case name == "server_no_context_takeover", name == "client_no_context_takeover":
			if valued {
				return false
			}
		case name == "client_max_window_bits": // may be left unanswered: the client's window is then what it likes
			if valued && !slices.Contains([]string{"8", "9", "10", "11", "12", "13", "14", "15"}, value) {
				return false
			}
		default:
			return false
		}
		seen = append(seen, name)
	}
	return true
}

// deflating is a dialect that compresses large answers. Ticks are as they are, so that all connections share their frames.
type deflating struct{ dialect }

func (d deflating) AppendMessage(dst []byte, m *session.Message) []byte {
	at := len(dst)
	dst = d.dialect.AppendMessage(dst, m)
	if len(dst)-at < deflateThreshold {
		return dst
	}
	payload := dst[at+header:]
	if dst[at+1] == 127 { // its header is longer
		payload = dst[at+10:]
	}
	p := d.close(appendDeflated(open(make([]byte, 0, len(payload)/2)), payload), 0)
	if len(p) >= len(dst)-at {
		return dst
	}
	p[0] |= rsv1
	return append(dst[:at], p...)
}

// appender is an io.Writer.
type appender struct{ p []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.p = append(a.p, p...)
	return len(p), nil
}

// appendDeflated appends a message's payload, compressed. The compressor has no state of its own and borrows 130 KB while it
// works, where a flate.Writer keeps 1.2 MB (0.5 MB at its smallest).
func appendDeflated(dst, payload []byte) []byte {
	w := appender{dst}
	_ = flate.StatelessDeflate(&w, payload, false, nil) // to memory: cannot fail
	return bytes.TrimSuffix(w.p, []byte{0, 0, 0xff, 0xff})
}

// inflaters are shared by all connections: each is needed for the time of one message.
type inflaters struct{ pool sync.Pool }

// inflater is a decompressor and what it has made.
type inflater struct {
	flate io.ReadCloser
	in    ended
	out   []byte
}

// ended reads a payload and what belongs behind it. It is an io.ByteReader, for the decompressor would wrap a 4 KB buffer
// around anything else, each time.
type ended struct {
	payload []byte
	end     string
}

func (e *ended) Read(p []byte) (n int, err error) {
	if n = copy(p, e.payload); n > 0 {
		e.payload = e.payload[n:]
		return n, nil
	}
	if n = copy(p, e.end); n > 0 {
		e.end = e.end[n:]
		return n, nil
	}
	return 0, io.EOF
}

func (e *ended) ReadByte() (b byte, err error) {
	switch {
	case len(e.payload) > 0:
		b, e.payload = e.payload[0], e.payload[1:]
	case len(e.end) > 0:
		b, e.end = e.end[0], e.end[1:]
	default:
		return 0, io.EOF
	}
	return b, nil
}

// endOfMessage is what the sender left out, and a last, empty block, at which the decompressor ends.
const endOfMessage = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

func (f *inflaters) get() *inflater {
	i, ok := f.pool.Get().(*inflater)
	if !ok {
		i = &inflater{out: make([]byte, 1<<10)}
		i.flate = flate.NewReader(&i.in)
	}
	return i
}

func (f *inflaters) put(i *inflater) {
	if len(i.out) > 8<<10 { // few messages are so long
		i.out = make([]byte, 1<<10)
	}
	i.in = ended{}
	f.pool.Put(i)
}

// inflate gives what p was before it was compressed, valid until the next call. It stops as soon as that is longer than a
// message may be: what a client sends can be a thousand times longer when inflated.
func (i *inflater) inflate(p []byte) ([]byte, code.Close) {
	i.in = ended{p, endOfMessage}
	_ = i.flate.(flate.Resetter).Reset(&i.in, nil) // cannot fail
	n := 0
	for {
		m, err := i.flate.Read(i.out[n:])
		switch n += m; {
		case n > session.MaxMessage:
			return nil, code.TooBig
		case err == io.EOF:
			return i.out[:n], 0
		case err != nil:
			return nil, code.InvalidPayload
		case n == len(i.out):
			i.out = append(make([]byte, 0, min(4*n, session.MaxMessage+1)), i.out...)
			i.out = i.out[:cap(i.out)]
		}
	}
}
