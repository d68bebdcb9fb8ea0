package websocket

import (
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/session"
	"github.com/tickfan/tickfan/services/edge/internal/bucket"
)

// Codes of RFC 6455 that are no fault; those for what a close frame does not say; and the first of those that are the
// client's to choose: they are counted as one, for he could choose a thousand.
const (
	normal       code.Close = 1000
	noStatus     code.Close = 1005
	abnormal     code.Close = 1006
	applications code.Close = 3000
)

// decode gives the request in a message. One that cannot be carried out is answered here.
func decode(s *bucket.Session, f session.Format, text bool, p []byte) (*session.Request, bool) {
	if text != (f == session.JSON) {
		want := "text frames"
		if text {
			want = "binary frames"
		}
		s.End(code.Unsupported, f.String()+" is sent in "+want)
		return nil, false
	}
	r, err := session.DecodeRequest(f, p)
	if err != nil {
		s.Refuse(r.ID, err)
		return nil, false
	}
	return &r, true
}

// reason is for a person who looks at a close frame.
func reason(c code.Close) string {
	switch c {
	case code.TooBig:
		return "message too large"
	case code.InvalidPayload:
		return "text is not UTF-8, or what is compressed cannot be inflated"
	}
	return "protocol error"
}
