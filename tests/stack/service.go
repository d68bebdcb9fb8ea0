package stack

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Service is a process of Tickfan's, with an ops port.
type Service struct {
	*Process
	ops    string // host:port of the present run
	listen string // of an edge, the same for all its runs; "" before the first
	edge   bool
}

// askEvery is how often a service is asked whether it is ready.
const askEvery = 20 * time.Millisecond

func newService(t testing.TB, p Programs, name, command, nats string, args ...string) *Service {
	t.Helper()
	args = append([]string{"--nats", nats, "--ops", "127.0.0.1:0"}, args...)
	return &Service{Process: newProcess(t, name, p.Path(command), args...), edge: command == "edge"}
}

// Start runs it, with more flags, and waits until its ports are open. It comes back where it was: an edge's clients find
// it again.
func (s *Service) Start(more ...string) {
	s.t.Helper()
	if s.edge {
		listen := "127.0.0.1:0"
		if s.listen != "" {
			listen = s.listen
		}
		more = append([]string{"--listen", listen}, more...)
	}
	s.Process.Start(more...)
	s.ops = s.Await(`msg="ops is listening" .*address=(\S+)`)[0]
}

// AwaitReady waits until it says that it is ready.
func (s *Service) AwaitReady() {
	s.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(askEvery)
	defer again.Stop()
	for {
		ready, why := s.ready()
		if ready {
			break
		}
		if !s.Running() {
			s.t.Fatalf("%s ended before it was ready", s.name)
		}
		select {
		case <-again.C:
		case <-deadline.C:
			s.t.Fatalf("%s is not ready within %s: %s", s.name, patience, why)
		}
	}
	if s.edge && s.listen == "" {
		s.listen = s.Await(`msg=listening .*address=(\S+)`)[0]
	}
}

// Ready tells whether it is ready and misses nothing: it is said to be ready for a while after it has lost its NATS server.
func (s *Service) Ready() bool {
	ok, _ := s.ready()
	return ok
}

func (s *Service) ready() (ok bool, body string) {
	status, body, err := s.get("/readyz")
	if err != nil {
		return false, err.Error()
	}
	return status == http.StatusOK && !strings.Contains(body, `"unmet"`), body
}

// URL is where clients of an edge connect: http://host:port.
func (s *Service) URL() string { return "http://" + s.listen }

// Address is the same without the scheme.
func (s *Service) Address() string { return s.listen }

// OpsURL is where it answers operators: http://host:port.
func (s *Service) OpsURL() string { return "http://" + s.ops }

// get asks its ops port.
func (s *Service) get(path string) (status int, body string, err error) {
	return Get(s.OpsURL() + path)
}

// Get is a plain HTTP request that leaves no connection behind.
func Get(url string) (status int, body string, err error) {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Get(url)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	return r.StatusCode, string(b), err
}

// Metric gives the sum of a metric's series that have all the labels, each written as in /metrics: code="bad_price".
// A metric that is not there is 0.
func (s *Service) Metric(name string, labels ...string) float64 {
	s.t.Helper()
	_, body, err := s.get("/metrics")
	if err != nil {
		s.t.Errorf("read metrics of %s: %v", s.name, err)
		return 0
	}
	sum := 0.0
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		got, _, _ := strings.Cut(line, "{")
		if got, _, _ = strings.Cut(got, " "); got != name || !hasAll(line, labels) {
			continue
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			s.t.Errorf("read metrics of %s: %q", s.name, line)
		}
		sum += v
	}
	return sum
}

func hasAll(line string, labels []string) bool {
	for _, l := range labels {
		if !strings.Contains(line, l) {
			return false
		}
	}
	return true
}
