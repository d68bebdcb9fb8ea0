// Package history answers questions for a range of a symbol's ticks out of the stream TICKS, beside the router's loop:
// a read takes a millisecond or a second, and no tick waits for it. Few are read at a time, few wait, and what is beyond
// that is refused at once, so that neither the router nor the stream has more to do the more is asked. Who was refused
// asks again.
package history
