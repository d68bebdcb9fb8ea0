// Command tickctl publishes prices, watches them, decodes what travels on NATS, and shows operators what runs.
package main

import (
	"os"

	"github.com/tickfan/tickfan/services/tickctl"
)

func main() {
	os.Exit(tickctl.Main(os.Args[1:], tickctl.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
