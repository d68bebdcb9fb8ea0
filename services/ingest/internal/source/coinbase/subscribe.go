package coinbase

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// singleCalls is how many subscribe calls a second are sent when each product is asked for alone. The exchange takes
// 100 messages a second from one address.
const singleCalls = 20

// errNothing ends a connection on which no product came to be subscribed.
var errNothing = errors.New("the exchange accepted none of the products")

// subscribe asks for all products in one call. The exchange ignores a call with a bad product altogether and does not
// say which it is, so after a refusal each is asked for alone: one bad product must not take the others with it.
func (c *conn) subscribe(ctx context.Context) error {
	f := c.feed
	products := f.wanted()
	if !f.singly {
		ack, err := c.call(ctx, products)
		var refused *refusedError
		switch {
		case err == nil:
			c.check(ack, products)
			return nil
		case !errors.As(err, &refused):
			return err
		case len(products) == 1:
			return f.nothing()
		}
		f.singly = true
	}
	accepted, ack, err := c.subscribeSingly(ctx, products)
	if err != nil {
		return err
	}
	f.singly = false // each is known by now; the refused are left out next time
	if len(accepted) == 0 {
		return f.nothing()
	}
	c.check(ack, accepted)
	return nil
}

// subscribeAgain asks for the products that were refused some time ago, each alone.
func (c *conn) subscribeAgain(ctx context.Context) error {
	var products []string
	for _, p := range c.feed.wanted() {
		if _, was := c.feed.refused[p]; was {
			delete(c.feed.refused, p)
			products = append(products, p)
		}
	}
	_, _, err := c.subscribeSingly(ctx, products)
	return err
}

func (c *conn) subscribeSingly(ctx context.Context, products []string) (accepted []string, ack *frame, err error) {
	pace := rate.NewLimiter(singleCalls, 1)
	for _, p := range products {
		if err := pace.Wait(ctx); err != nil {
			return nil, nil, err
		}
		a, err := c.call(ctx, []string{p})
		var refused *refusedError
		switch {
		case err == nil:
			accepted, ack = append(accepted, p), a
		case errors.As(err, &refused):
			c.feed.refuse(p, refused)
		default:
			return nil, nil, err
		}
	}
	return accepted, ack, nil
}

// call sends one subscribe call and waits for its answer. Answers carry nothing to tell calls apart, so there is one
// call at a time.
func (c *conn) call(ctx context.Context, products []string) (ack *frame, err error) {
	for len(c.answers) > 0 {
		<-c.answers // to nothing that was asked
	}
	if err := c.write(subscribeTo(products)); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	t := time.NewTimer(answerTimeout)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-t.C:
		return nil, fmt.Errorf("subscribe: no answer within %s", answerTimeout)
	case a := <-c.answers:
		return answer(a)
	case <-c.ended:
		select {
		case a := <-c.answers: // it may refuse and hang up
			return answer(a)
		default:
			return nil, c.err
		}
	}
}

func answer(a *frame) (ack *frame, err error) {
	if a.Type == typeError {
		return nil, &refusedError{reason: strings.TrimSpace(a.Message + ": " + a.Reason)}
	}
	return a, nil
}

// check compares an ack, which names the full set, with what was asked for.
func (c *conn) check(ack *frame, asked []string) {
	var missing []string
	for _, channel := range []string{typeTicker, typeHeartbeat} {
		got := ack.products(channel)
		for _, p := range asked {
			if !slices.Contains(got, p) {
				missing = append(missing, channel+" "+p)
			}
		}
	}
	if len(missing) > 0 {
		c.feed.o.Stats.Unacked.Add(int64(len(missing)))
		c.feed.o.Log.Warn("exchange did not acknowledge all that was asked for", "missing", strings.Join(missing, ", "))
		return
	}
	c.feed.o.Log.Info("subscribed at exchange", "url", c.feed.o.URL, "products", strings.Join(asked, ","))
}

// products are those that an ack names for a channel.
func (f *frame) products(name string) []string {
	for _, ch := range f.Channels {
		if ch.Name == name {
			return ch.ProductIDs
		}
	}
	return nil
}

// wanted are the products to ask for: all but those refused not long ago, in the order of the configuration. There is
// always one, for when all are refused that is forgotten.
func (f *Feed) wanted() []string {
	now := f.o.Now()
	var ids []string
	for _, s := range f.o.Products {
		if until, ok := f.refused[string(s)]; !ok || now.After(until) {
			ids = append(ids, string(s))
		}
	}
	return ids
}

// nothing forgets who was refused: all of them is more likely the exchange's trouble than theirs.
func (f *Feed) nothing() error {
	clear(f.refused)
	return errNothing
}

func (f *Feed) refuse(product string, err *refusedError) {
	f.refused[product] = f.o.Now().Add(refusedFor)
	f.o.Stats.Refused.Add(1)
	f.o.Log.Warn("exchange refuses a product; the others go on", "product", product, "reason", cut(err.reason), "again_in", refusedFor)
}
