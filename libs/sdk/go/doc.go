// Package tickfan is the Go client of a Tickfan edge: live prices over one WebSocket that mends itself.
//
//	c, err := tickfan.Dial(ctx, "ws://localhost:8080", tickfan.Options{})
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	if _, err := c.Subscribe(ctx, []string{"BTC-USD", "ETH-USD"}); err != nil {
//		return err
//	}
//	for event, err := range c.Events(ctx) {
//		if err != nil {
//			return err
//		}
//		if t, ok := event.(tickfan.Tick); ok {
//			fmt.Println(t.Symbol, t.Price)
//		}
//	}
//
// # One client, one stream
//
// A Client holds one set of subscriptions and gives one stream of events, in the order in which they came: Tick, Gap,
// Stale, Fresh, Connected, Disconnected, Unsubscribed. A symbol is subscribed once; subscribing to it again replaces
// its mode and rate. Who wants two independent streams dials twice.
//
// # What holds across reconnects
//
// A lost connection is made again, with full jitter and the time that the edge asked for, and every subscription is
// renewed. No symbol's price ever goes back: a tick that is not after the last one received of its symbol is dropped,
// whichever edge it comes from. In mode every each tick comes once, in order, or a Gap says which are missing; the
// client asks for what it missed while it was away, and reports holes that nobody told it of. An edge fetches what it
// misses from the history before it tells of a gap; Client.Ticks, or Options.FetchGaps, gets what it would not.
//
// # A slow reader
//
// In mode latest (the default) the client keeps the newest tick per symbol until it is taken, so a slow reader skips
// prices but is never behind. In mode every up to Options.Buffer ticks and gaps wait; then the client stops reading
// the socket, TCP tells the edge, and what does not fit into the edge's history comes as a Gap. That holds up the
// Client's other symbols too: who mixes modes and reads slowly dials one Client per mode.
//
// # Concurrency
//
// All methods may be called from any goroutine. Several readers share the stream: an event goes to one of them.
// Subscribe and Unsubscribe may be called from the loop that reads events.
package tickfan
