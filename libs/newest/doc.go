// Package newest reads the newest tick of every symbol out of the stream TICKS. A router does it
// at its start and whenever it may have missed something, ingest at the start of an epoch.
package newest
