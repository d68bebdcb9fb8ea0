// Package e2e tests Tickfan from end to end: separate processes over TCP against an ordinary nats-server (tests/stack),
// a fake exchange that plays recorded traffic, and the Go SDK as the client.
//
// Recorded traffic is taken from the folder that the environment variable FEEDS names. Without it the tests play
// invented frames of the same shapes out of testdata, and say so; in CI (CI=true) that is a failure.
package e2e
