// Package coinbase reads the ticker channel of Coinbase Exchange (not Advanced Trade) over its public WebSocket feed.
// Each ticker frame is a price, in the exchange's order, once; what the exchange did not send is counted, and on it
// goes.
package coinbase
