// Package intake is what ingest hears on ingest.>: prices from people and programs. Each is checked and stamped, or
// refused with a code that says what is allowed; a request is answered once its tick is flushed to NATS.
package intake
