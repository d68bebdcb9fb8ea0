package coinbase

import "github.com/tickfan/tickfan/proto/subject"

// product is what is remembered of a product, over reconnects: which trades were seen. A ticker is sent for every
// trade, and a product's trade ids step by exactly 1, so they tell what is missing and what came twice. The sequence
// does not: it counts messages of which this channel is a part, so it jumps; but it never goes back.
type product struct {
	symbol   subject.Symbol
	conn     uint64 // the connection it was last seen on
	before   uint64 // last trade seen on earlier connections
	trade    uint64 // last trade seen
	sequence uint64 // of that frame
	told     uint64 // last trade that a heartbeat told of
}

// ticker takes a trade into account. repeated: its price was stamped already, for the first ticker after an ack
// repeats the last trade. lost is the number of trades before it that were not seen and not yet counted.
//
// An exchange that counts anew from 1 would be taken for repeating itself until ingest is restarted; that is the
// lesser harm, for an old price would turn every client back.
func (p *product) ticker(conn, trade, sequence uint64) (lost uint64, repeated bool) {
	if p.conn != conn {
		p.conn, p.before = conn, p.trade
	}
	if trade == 0 {
		return 0, false // no trade behind it, so no order among trades
	}
	if trade <= p.before || trade <= p.trade && sequence <= p.sequence {
		return 0, true
	}
	if expected := max(p.trade, p.told) + 1; p.trade != 0 && trade > expected {
		lost = trade - expected
	}
	p.trade, p.sequence = max(p.trade, trade), max(p.sequence, sequence)
	return lost, false
}

// heartbeat takes the exchange's last trade into account and gives the number of trades that should have come before
// it, did not, and were not yet counted.
func (p *product) heartbeat(trade uint64) (lost uint64) {
	if p.trade == 0 {
		return 0 // nothing seen yet, so nothing missed
	}
	if seen := max(p.trade, p.told); trade > seen {
		lost = trade - seen
		p.told = trade
	}
	return lost
}
