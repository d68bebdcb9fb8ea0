package tickctl

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/tickfan/tickfan/libs/bus"
	"github.com/tickfan/tickfan/proto/code"
	"github.com/tickfan/tickfan/proto/subject"
)

// server is how a command reaches NATS.
type server struct {
	NATS    string        `name:"nats" default:"nats://127.0.0.1:4222" env:"TICKFAN_NATS" placeholder:"URL" help:"NATS servers, comma-separated. Default: nats://127.0.0.1:4222."`
	Timeout time.Duration `name:"timeout" default:"2s" help:"How long to wait for NATS and for the answer."`
}

// regional is how a command reaches the registry of a region.
type regional struct {
	server `embed:""`
	Region string `name:"region" env:"TICKFAN_REGION" placeholder:"NAME" help:"Region to ask. Default: the one whose registry answers."`
}

// connect dials, for as long as the timeout at most.
func connect(ctx context.Context, urls string, timeout time.Duration) (*nats.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s; is nats-server or dev running there?", timeout))
	defer cancel()
	return bus.Connect(ctx, bus.Options{URL: urls, Name: "tickctl", Log: slog.New(slog.DiscardHandler)})
}

// registry is a region's, over a connection that is closed with it.
type registry struct {
	nc      *nats.Conn
	region  subject.Region
	timeout time.Duration
}

// open connects and finds out which region is there.
func (f *regional) open(ctx context.Context) (*registry, error) {
	if f.Region != "" {
		if _, err := subject.ParseRegion(f.Region); err != nil {
			return nil, err
		}
	}
	nc, err := connect(ctx, f.NATS, f.Timeout)
	if err != nil {
		return nil, err
	}
	r := &registry{nc: nc, region: subject.Region(f.Region), timeout: f.Timeout}
	if r.region == "" {
		instances, err := instances(ctx, nc, f.Timeout)
		if err == nil {
			r.region, err = oneRegion(instances)
		}
		if err != nil {
			nc.Close()
			return nil, err
		}
	}
	return r, nil
}

func (r *registry) close() { r.nc.Close() }

// instance is one running registry.
type instance struct {
	ID      string         `json:"id"`
	Version string         `json:"version"`
	Region  subject.Region `json:"region"`
}

// lastOne is how long after one answer the next may come.
const lastOne = 250 * time.Millisecond

// instances are the registries that say they are there. None is an error.
func instances(ctx context.Context, nc *nats.Conn, timeout time.Duration) ([]instance, error) {
	at, err := micro.ControlSubject(micro.PingVerb, subject.Service, "")
	if err != nil {
		return nil, fmt.Errorf("look for registries: %w", err)
	}
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("look for registries: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(at, inbox, nil); err != nil {
		return nil, fmt.Errorf("look for registries: %w", err)
	}
	var all []instance
	for wait := timeout; ; wait = lastOne {
		next, cancel := context.WithTimeout(ctx, wait)
		msg, err := sub.NextMsgWithContext(next)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && len(all) == 0:
			return nil, fmt.Errorf("no registry answered at %s; is registry or dev running, and connected there?", nc.ConnectedUrlRedacted())
		case err != nil:
			slices.SortFunc(all, func(a, b instance) int {
				return cmp.Or(strings.Compare(string(a.Region), string(b.Region)), strings.Compare(a.ID, b.ID))
			})
			return all, nil
		}
		var pong micro.Ping
		if err := json.Unmarshal(msg.Data, &pong); err != nil {
			return nil, fmt.Errorf("read answer on %s: %w", at, err)
		}
		all = append(all, instance{ID: pong.ID, Version: pong.Version, Region: subject.Region(pong.Metadata["region"])})
	}
}

// oneRegion is that of all instances. Where servers are linked without the users of deploy/nats, those of other regions
// answer as well, and nobody can tell which one is meant.
func oneRegion(all []instance) (subject.Region, error) {
	regions := make([]string, 0, len(all))
	for _, i := range all {
		regions = append(regions, string(i.Region))
	}
	slices.Sort(regions)
	regions = slices.Compact(regions)
	if len(regions) > 1 {
		return "", fmt.Errorf("registries of the regions %s answer here; name one with --region", strings.Join(regions, ", "))
	}
	return subject.Region(regions[0]), nil
}

// asks is how often a request is sent within the timeout: a registry that hangs keeps getting its share of them.
const asks = 4

// ask has a registry answer a request on one of its endpoints. A refusal is a *code.Error.
func (r *registry) ask(ctx context.Context, endpoint string, answer any) error {
	at := subject.Registry(r.region, endpoint)
	var msg *nats.Msg
	var err error
	for range asks {
		one, cancel := context.WithTimeout(ctx, r.timeout/asks)
		msg, err = r.nc.RequestWithContext(one, at, nil)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			break
		}
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no registry answered on %s; is registry or dev running, and connected to %s?", at, r.nc.ConnectedUrlRedacted())
	case err != nil:
		return fmt.Errorf("ask on %s: %w", at, err)
	}
	var refusal struct{ Error *code.Error }
	if err := errors.Join(json.Unmarshal(msg.Data, &refusal), json.Unmarshal(msg.Data, answer)); err != nil {
		return fmt.Errorf("read answer on %s: %w", at, err)
	}
	if refusal.Error != nil {
		return refusal.Error
	}
	return nil
}
