// Package lease decides which ingest stamps: the one that holds key "lease" of LEADER, in the epoch that it wrote to
// key "epoch" when it won. It is written so that the live feed outlives JetStream: a holder stops only on proof that
// there is another, never because it got no answer.
package lease
