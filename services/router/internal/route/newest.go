package route

import (
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

// answerHead is more than the head of an answer can take: array, kind, last, headers of ticks and missing.
const answerHead = 1 + 1 + 1 + 5 + 5

// Newest answers a request for newest ticks on the subject reply, in as many messages as it takes, or hands one for a
// range on. One that cannot be read gets no answer: there is none that says so.
func (r *Router) Newest(subj, reply string, payload []byte) {
	r.stats.Requests.Add(1)
	m, err := tick.DecodeNewestRequest(payload)
	if err == nil && reply == "" {
		err = errNoReply
	}
	if err != nil {
		r.malformed(KindNewest, subj, err)
		return
	}
	if m.Range.Symbol != "" {
		r.o.Range(m.Range, reply)
		return
	}
	a := answer{router: r, reply: reply, size: answerHead}
	if m.Symbols == nil {
		for e := range r.table.All() {
			a.tick(e.Payload)
		}
	}
	for _, s := range m.Symbols {
		if p := r.table.Payload(s); p != nil {
			a.tick(p)
		} else {
			a.missing(s)
		}
	}
	a.send(true)
}

// answer is the message being filled.
type answer struct {
	router *Router
	reply  string
	msg    tick.NewestAnswer
	size   int
}

func (a *answer) tick(payload []byte) {
	a.room(len(payload))
	a.msg.Ticks = append(a.msg.Ticks, payload)
}

func (a *answer) missing(s subject.Symbol) {
	a.room(len(s) + 2) // a symbol's header takes two bytes at most
	a.msg.Missing = append(a.msg.Missing, s)
}

// room sends what there is when n more bytes would be too many.
func (a *answer) room(n int) {
	if a.size+n > tick.MaxPayload && len(a.msg.Ticks)+len(a.msg.Missing) > 0 {
		a.send(false)
	}
	a.size += n
}

func (a *answer) send(last bool) {
	r := a.router
	a.msg.Last = last
	r.buf = a.msg.Append(r.buf[:0])
	_ = r.publish(a.reply, r.buf) // counted; who asked asks again
	a.msg.Ticks, a.msg.Missing, a.size = a.msg.Ticks[:0], a.msg.Missing[:0], answerHead
}
