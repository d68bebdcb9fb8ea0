package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// Check asks the running service whose ops port is addr (host:port; no host or an
// unspecified one is this machine) whether it is ready. It returns nil when it is, else
// an error of one line with what is unmet, or why nothing could be asked.
func Check(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("read ops address %q: %w", addr, err)
	}
	if port == "0" {
		return fmt.Errorf("read ops address %q: a port chosen at start cannot be asked; give the real one", addr)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	url := "http://" + net.JoinHostPort(host, port) + "/readyz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask readiness: %w", err)
	}
	// A transport of its own, closed here: no proxy between a container and itself, and
	// no idle connection left behind.
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("ask readiness: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	var r readiness
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&r); err != nil || len(r.Unmet) == 0 {
		return fmt.Errorf("ask readiness: %s answered %s", url, resp.Status)
	}
	return errors.New("not ready: " + r.String())
}
