// Package edge terminates clients' sockets and sends each the newest prices of its symbols. It receives only what its own
// clients want: every bucket is one NATS subscription, one worker and up to 10,000 sockets. Config says how, Run does it.
package edge
