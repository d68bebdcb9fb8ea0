package compose

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
)

const symbol = "COMPOSE-TEST"

// client is an SDK client that wants the symbol.
type client struct {
	mu    sync.Mutex
	price string // the newest
}

// dial makes clients, which stay until the end of the test.
func dial(t *testing.T, url string, n int) (all []*client) {
	t.Helper()
	for range n {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		conn, err := tickfan.Dial(ctx, url, tickfan.Options{})
		if err == nil {
			_, err = conn.Subscribe(ctx, []string{symbol})
		}
		cancel()
		if err != nil {
			t.Fatalf("connect a client: %v", err)
		}
		c := &client{}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for event, err := range conn.Events(context.Background()) {
				if err != nil {
					if !errors.Is(err, tickfan.ErrClosed) {
						t.Errorf("a client ended: %v", err)
					}
					return
				}
				if tick, ok := event.(tickfan.Tick); ok {
					c.mu.Lock()
					c.price = tick.Price.String()
					c.mu.Unlock()
				}
			}
		}()
		t.Cleanup(func() {
			_ = conn.Close() // always nil
			<-ended
		})
		all = append(all, c)
	}
	return all
}

// have tells whether all clients show a price.
func have(all []*client, price string) bool {
	for _, c := range all {
		c.mu.Lock()
		same := c.price == price
		c.mu.Unlock()
		if !same {
			return false
		}
	}
	return true
}

// operator is a connection to NATS from this host.
func operator(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.Name(t.Name()))
	if err != nil {
		t.Fatalf("connect to NATS: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// connections asks the registry how many clients each edge has.
func connections(nc *nats.Conn, region subject.Region) map[subject.Edge]int {
	m, err := nc.Request(subject.Registry(region, "edges"), nil, 2*time.Second)
	if err != nil {
		return nil // asked again
	}
	var answer control.EdgesAnswer
	if json.Unmarshal(m.Data, &answer) != nil {
		return nil
	}
	edges := map[subject.Edge]int{}
	for _, e := range answer.Edges {
		edges[e.Edge] = e.Connections
	}
	return edges
}

// get is a plain HTTP request that leaves no connection behind; "" where it failed.
func get(url string) string {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Get(url)
	if err != nil {
		return ""
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil || r.StatusCode != http.StatusOK {
		return ""
	}
	return string(b)
}
