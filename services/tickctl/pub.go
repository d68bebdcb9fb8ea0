package tickctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/proto/control"
	"github.com/tickfan/tickfan/proto/subject"
	"github.com/tickfan/tickfan/proto/tick"
)

type pub struct {
	Symbol string `arg:"" help:"Symbol, e.g. BTC-USD: 1 to 32 of A-Z 0-9 - _."`
	Price  string `arg:"" help:"Price as a decimal, e.g. 64123.51, or a JSON object as ingest takes it, e.g. '{\"price\":\"64123.51\",\"bid\":\"64123.50\"}'."`
	Bid    string `name:"bid" placeholder:"PRICE" help:"Best bid."`
	Ask    string `name:"ask" placeholder:"PRICE" help:"Best ask."`
	JSON   bool   `name:"json" help:"Ingest's answer as it is, a line of JSON."`
	server `embed:""`
}

// Run sends the price as a request. A refusal is a *code.Error.
func (p *pub) Run(ctx context.Context, s Streams) error {
	symbol, err := subject.ParseSymbol(p.Symbol)
	if err != nil {
		return err
	}
	payload, err := p.payload()
	if err != nil {
		return err
	}
	nc, err := connect(ctx, p.NATS, p.Timeout)
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	at := subject.Ingest(symbol)
	msg, err := nc.RequestWithContext(ctx, at, payload)
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no ingest answered on %s; is ingest or dev running, and connected to %s?", at, nc.ConnectedUrlRedacted())
	case errors.Is(err, context.Canceled):
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("publish on %s: %w", at, err)
	}
	var answer control.IngestAnswer
	if err := json.Unmarshal(msg.Data, &answer); err != nil {
		return fmt.Errorf("read answer on %s: %w", at, err)
	}
	if p.JSON {
		if err := writeJSON(s.Out, answer); err != nil {
			return err
		}
	}
	switch {
	case answer.Error != nil:
		return fmt.Errorf("%s refused: %w", symbol, answer.Error)
	case !answer.OK:
		return fmt.Errorf("answer on %s is neither ok nor an error: %.100q", at, msg.Data)
	}
	if p.JSON {
		return nil
	}
	trace := ""
	if answer.Trace != "" {
		trace = " trace=" + answer.Trace
	}
	_, err = fmt.Fprintf(s.Out, "%s %s ok epoch=%d seq=%d%s\n", symbol, price(payload), answer.Epoch, answer.Seq, trace)
	return err
}

// payload is a JSON object as it was given, or one around the price: ingest is the judge of prices, and so it speaks of the
// price and not of a payload.
func (p *pub) payload() ([]byte, error) {
	if strings.HasPrefix(strings.TrimSpace(p.Price), "{") {
		if p.Bid != "" || p.Ask != "" {
			return nil, errors.New("--bid and --ask go with a plain price; a JSON object holds its own")
		}
		return []byte(p.Price), nil
	}
	return json.Marshal(struct {
		Price string `json:"price"`
		Bid   string `json:"bid,omitempty"`
		Ask   string `json:"ask,omitempty"`
	}{p.Price, p.Bid, p.Ask})
}

// negativePrice is what is wrong with a command line of pub that has a price below 0, nil if none has.
func negativePrice(args []string) error {
	if !slices.Contains(args, "pub") {
		return nil
	}
	for _, arg := range args {
		if negativeNumber.MatchString(arg) {
			return fmt.Errorf("price %q: %w", arg, tick.ErrNotDecimal)
		}
	}
	return nil
}

var negativeNumber = regexp.MustCompile(`^-\.?[0-9][0-9.]*$`)

// price is the price in a payload that ingest has taken.
func price(payload []byte) string {
	q, err := tick.ParseQuote(payload, time.Now())
	if err != nil {
		return string(payload)
	}
	return q.Price.String()
}
