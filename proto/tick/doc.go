// Package tick is a price on the bus: Decimal (exact, never a float), Quote (what a source says), Tick (a Quote that
// ingest stamped with epoch and seq), Batch, Beat and the newest request and answer, each with an Append function
// and a Decode function, and ParseQuote, which reads what people and programs publish on ingest.<symbol>.
package tick
