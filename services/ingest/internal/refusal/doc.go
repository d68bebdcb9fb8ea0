// Package refusal counts the prices that ingest refused, by code, and warns about them: who publishes bad prices
// should find out from the log as well, but a flood of them must not drown it.
package refusal
