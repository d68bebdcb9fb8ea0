package control

import (
	"fmt"

	"github.com/tickfan/tickfan/proto/wire"
)

// RouterBeat is a router's sign of life to the other routers of its region, every 500 ms.
//
//	[5, instance, ready, leaving]
type RouterBeat struct {
	Instance string // new at each start
	Ready    bool   // serves buckets
	Leaving  bool   // stops soon
}

// Append appends m's MessagePack form to dst.
func (m *RouterBeat) Append(dst []byte) []byte {
	dst = wire.AppendArray(dst, 4)
	dst = wire.AppendUint(dst, uint64(wire.KindRouterBeat))
	dst = wire.AppendStr(dst, m.Instance)
	dst = wire.AppendBool(dst, m.Ready)
	return wire.AppendBool(dst, m.Leaving)
}

// DecodeRouterBeat reads what Append wrote.
func DecodeRouterBeat(p []byte) (m RouterBeat, err error) {
	r := wire.NewReader(p)
	extra := r.Kind(wire.KindRouterBeat, 4)
	m = RouterBeat{Instance: string(r.Str()), Ready: r.Bool(), Leaving: r.Bool()}
	r.End(extra)
	if err := r.Err(); err != nil {
		return RouterBeat{}, fmt.Errorf("decode router beat: %w", err)
	}
	return m, nil
}
