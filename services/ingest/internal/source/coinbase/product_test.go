package coinbase

import "testing"

func TestTradeRule(t *testing.T) {
	type step struct {
		conn, trade, sequence uint64
		beat                  bool
		lost                  uint64
		repeated              bool
	}
	for name, steps := range map[string][]step{
		"in order":             {{conn: 1, trade: 5, sequence: 10}, {conn: 1, trade: 6, sequence: 17}, {conn: 1, trade: 7, sequence: 2403}},
		"first is no gap":      {{conn: 1, trade: 1_052_192_039, sequence: 132_243_038_064}},
		"gap":                  {{conn: 1, trade: 5, sequence: 10}, {conn: 1, trade: 8, sequence: 20, lost: 2}, {conn: 1, trade: 9, sequence: 30}},
		"repeat after ack":     {{conn: 1, trade: 5, sequence: 10}, {conn: 2, trade: 5, sequence: 12, repeated: true}, {conn: 2, trade: 6, sequence: 13}},
		"older after ack":      {{conn: 1, trade: 5, sequence: 10}, {conn: 2, trade: 4, sequence: 9, repeated: true}, {conn: 2, trade: 6, sequence: 13}},
		"same frame twice":     {{conn: 1, trade: 5, sequence: 10}, {conn: 1, trade: 5, sequence: 10, repeated: true}},
		"same trade, newer":    {{conn: 1, trade: 5, sequence: 10}, {conn: 1, trade: 5, sequence: 11}},
		"gap over a reconnect": {{conn: 1, trade: 5, sequence: 10}, {conn: 2, trade: 9, sequence: 90, lost: 3}},
		"beat agrees":          {{conn: 1, trade: 5, sequence: 10}, {beat: true, trade: 5}, {conn: 1, trade: 6, sequence: 11}},
		"beat before all":      {{beat: true, trade: 5}, {conn: 1, trade: 9, sequence: 1}},
		"beat tells of a loss, once": {{conn: 1, trade: 5, sequence: 10}, {beat: true, trade: 7, lost: 2}, {beat: true, trade: 7},
			{conn: 1, trade: 8, sequence: 20}},
		"beat and then more": {{conn: 1, trade: 5, sequence: 10}, {beat: true, trade: 7, lost: 2}, {conn: 1, trade: 10, sequence: 20, lost: 2}},
		"late, not lost":     {{conn: 1, trade: 5, sequence: 10}, {beat: true, trade: 6, lost: 1}, {conn: 1, trade: 6, sequence: 11}, {conn: 1, trade: 7, sequence: 12}},
		"old beat":           {{conn: 1, trade: 5, sequence: 10}, {beat: true, trade: 3}},
		"no trade id":        {{conn: 1}, {conn: 1}, {conn: 1, trade: 5, sequence: 1}, {conn: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			var p product
			for i, s := range steps {
				var lost uint64
				var repeated bool
				if s.beat {
					lost = p.heartbeat(s.trade)
				} else {
					lost, repeated = p.ticker(s.conn, s.trade, s.sequence)
				}
				if lost != s.lost || repeated != s.repeated {
					t.Fatalf("step %d: lost %d, repeated %v; want %d, %v", i, lost, repeated, s.lost, s.repeated)
				}
			}
		})
	}
}
