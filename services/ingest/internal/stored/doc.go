// Package stored follows what stream TICKS really holds, while this ingest stamps: a tick that did not come to stand there
// is published again, and who wants to wait for that is told.
package stored
