// Package vectors holds golden files: each message of the client protocol in both encodings, each payload on NATS,
// and what must be taken and what refused. They are for every implementation, whatever its language; the test beside
// them holds the Go packages against them, and writes them anew from the Go packages with
//
//	go test ./vectors -run Vectors -update
package vectors
