// Package fleet is thousands of clients in a few worker processes, for load tests. A worker keeps its sockets in an epoll
// of its own, on one thread, without a goroutine or net.Conn a socket, reads the frames in place and shows each tick to
// the oracle, so that the fleet's CPU stays small beside that of the server it stands beside. Fleet is the test's side: it
// starts the workers, which are the test binary run again, and speaks with them in lines of JSON.
package fleet
