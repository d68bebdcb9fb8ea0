package edge

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"time"

	"github.com/tickfan/tickfan/libs/conf"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/services/edge/internal/api"
)

// Options are the edge's own flags.
type Options struct {
	Listen       string        `name:"listen" default:"${listen}" help:"Where clients connect: WebSocket, HTTP and the page."`
	Advertise    string        `name:"advertise" help:"host:port at which clients reach this edge, for the registry's locate. Default: the IP address of --listen, or this host's name when it has none, and its port."`
	Name         string        `name:"name" default:"edge" help:"Name of this edge: 1 to 32 of a-z 0-9 -. Its id is the name and six characters made at start."`
	WriteGap     time.Duration `name:"write-gap" default:"25ms" help:"Usual time between two writes to a connection that gave no max_rate; the first after a pause leaves at once, and the next one then a quarter of it later at the earliest."`
	Idle         time.Duration `name:"idle" default:"60s" help:"A connection without a sign of life for so long is closed; it is pinged every 5/12 of it, 25 s."`
	MaxConns     int           `name:"max-conns" help:"Most connections at a time; more get 503. Default: from the file limit (less 500) and the memory."`
	DrainTimeout time.Duration `name:"drain-timeout" default:"25s" help:"How long a stopping edge may take to send its clients to others, 0s to 10m: they are told one after the other in four fifths of it. At the end, or when no other edge takes clients, those left are cut off."`
	Reader       string        `name:"reader" default:"auto" help:"What reads from clients: epoll (Linux only), or a goroutine for each connection, which takes 5 KB more each; auto is epoll on Linux."`
	Compression  string        `name:"compression" default:"on" help:"on or off: whether clients that ask for it may compress messages (permessage-deflate); ticks never are compressed."`
	TLSCert      string        `name:"tls-cert" placeholder:"FILE" help:"PEM file with the certificate and what it is signed by, for wss and https; the port speaks nothing else then. Read again when it changes."`
	TLSKey       string        `name:"tls-key" placeholder:"FILE" help:"PEM file with the certificate's private key."`
	Origin       []string      `name:"origin" default:"${origin}" placeholder:"ORIGIN" help:"Page of another host that may connect, e.g. https://app.example.com or http://localhost:*. May be repeated."`
}

// maxDrain is more than a client can take to go, and less than somebody waits for.
const maxDrain = 10 * time.Minute

// Config is the edge's whole configuration.
type Config struct {
	conf.Common `embed:""`
	Options     `embed:""`
}

// Defaults are those that the all-in-one sets otherwise.
func Defaults() map[string]string {
	return map[string]string{"ops": ":9091", "listen": ":8080", "origin": ""}
}

// polls tells whether pollers read from clients. crypto/tls can only be read by a goroutine.
func (o *Options) polls() bool {
	return o.Reader != "goroutine" && runtime.GOOS == "linux" && !o.secure()
}

func (o *Options) secure() bool { return o.TLSCert != "" }

// Validate names all faults at once.
func (o *Options) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		fault("--listen %q: host:port, e.g. :8080", o.Listen)
	}
	if _, _, err := net.SplitHostPort(o.Advertise); o.Advertise != "" && err != nil {
		fault("--advertise %q: host:port that clients can reach", o.Advertise)
	}
	if _, err := subject.ParseEdgeName(o.Name); err != nil {
		fault("--name %q: 1 to 32 of a-z 0-9 -", o.Name)
	}
	if o.DrainTimeout < 0 || o.DrainTimeout > maxDrain {
		fault("--drain-timeout %s: 0s to %s", o.DrainTimeout, maxDrain)
	}
	if o.WriteGap < 0 || o.WriteGap > time.Second {
		fault("--write-gap %s: 0s to 1s", o.WriteGap)
	}
	if o.Idle < time.Second || o.Idle > time.Hour {
		fault("--idle %s: 1s to 1h", o.Idle)
	}
	if o.MaxConns < 0 {
		fault("--max-conns %d: 0 (from the file limit and the memory) or more", o.MaxConns)
	}
	switch {
	case !slices.Contains([]string{"auto", "epoll", "goroutine"}, o.Reader):
		fault("--reader %q: auto, epoll or goroutine", o.Reader)
	case o.Reader == "epoll" && runtime.GOOS != "linux":
		fault("--reader epoll: on Linux only; goroutine elsewhere")
	case o.Reader == "epoll" && o.secure():
		fault("--reader epoll: not with --tls-cert; TLS takes a goroutine for each connection")
	}
	if o.Compression != "on" && o.Compression != "off" {
		fault("--compression %q: on or off", o.Compression)
	}
	if (o.TLSCert == "") != (o.TLSKey == "") {
		fault("--tls-cert %q, --tls-key %q: both or none", o.TLSCert, o.TLSKey)
	}
	if err := api.Origins(o.Origin).Validate(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
