// Package subject holds every name that Tickfan uses on NATS, in one file, with its literal form beside it, and
// the types of the things named: Symbol, Region, Edge, Bucket. A name is checked where it enters the system
// (Parse…) and trusted from then on.
package subject
