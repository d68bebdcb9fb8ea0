package exchange

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// request is a client's message. There are three shapes, which may be mixed:
//
//	{"type":"subscribe","product_ids":["BTC-USD"],"channels":["ticker"]}
//	{"type":"subscribe","channels":[{"name":"ticker","product_ids":["BTC-USD"]}]}
//	{"type":"subscribe","product_ids":["ETH-USD"],"channels":["heartbeat",{"name":"ticker","product_ids":["BTC-USD"]}]}
//
// The products of the root are added to every channel.
type request struct {
	Type     string           `json:"type"`
	Products []string         `json:"product_ids"`
	Channels []requestChannel `json:"channels"`
}

type requestChannel struct {
	Name     string   `json:"name"`
	Products []string `json:"product_ids"`
}

func (c *requestChannel) UnmarshalJSON(p []byte) error {
	if p[0] == '"' {
		return json.Unmarshal(p, &c.Name)
	}
	type plain requestChannel
	return json.Unmarshal(p, (*plain)(c))
}

// set is what a client has subscribed to: products by channel.
type set map[string]map[string]bool

func (s set) has(channel, product string) bool { return s[channel][product] }

// fault says why a subscribe is ignored, as the exchange says it; "" when it is not.
func (r *request) fault(products []string) string {
	if len(r.Channels) == 0 {
		return "No channels provided"
	}
	for _, c := range r.Channels {
		switch c.Name {
		case chTicker, chMatches, chHeartbeat:
		case "level2", "level3", "full":
			return "level2, level3, and full channels now require authentication. https://docs.cloud.coinbase.com/exchange/docs/websocket-auth"
		default:
			return c.Name + " is not a valid channel"
		}
		wanted := slices.Concat(r.Products, c.Products)
		if len(wanted) == 0 {
			return "You need to specify at least one product ID for channel " + c.Name
		}
		for _, p := range wanted {
			if !slices.Contains(products, p) {
				return " is not a valid product" // the exchange, too, does not say which
			}
		}
	}
	return ""
}

// subscribe adds what r asks for and gives it again, by channel.
func (s set) subscribe(r *request) set {
	asked := set{}
	for _, c := range r.Channels {
		for _, p := range slices.Concat(r.Products, c.Products) {
			for _, to := range []set{s, asked} {
				if to[c.Name] == nil {
					to[c.Name] = map[string]bool{}
				}
				to[c.Name][p] = true
			}
		}
	}
	return asked
}

// unsubscribe removes what r asks for; a channel without products is removed whole.
func (s set) unsubscribe(r *request) {
	for _, c := range r.Channels {
		products := slices.Concat(r.Products, c.Products)
		if len(products) == 0 {
			delete(s, c.Name)
		}
		for _, p := range products {
			delete(s[c.Name], p)
		}
		if len(s[c.Name]) == 0 {
			delete(s, c.Name)
		}
	}
}

// ack is the answer to both: the full set, in no order that could be relied on.
func (s set) ack() []byte {
	type channel struct {
		Name     string   `json:"name"`
		Products []string `json:"product_ids"`
		Accounts []string `json:"account_ids"`
	}
	answer := struct {
		Type     string    `json:"type"`
		Channels []channel `json:"channels"`
	}{"subscriptions", []channel{}}
	for name, products := range s {
		c := channel{Name: name, Products: slices.Collect(maps.Keys(products))}
		shuffle(c.Products)
		answer.Channels = append(answer.Channels, c)
	}
	shuffle(answer.Channels)
	return mustJSON(answer)
}

func shuffle[T any](s []T) { rand.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] }) }

func refusal(reason string) []byte {
	return mustJSON(map[string]string{"type": "error", "message": "Failed to subscribe", "reason": reason})
}

func mustJSON(v any) []byte {
	p, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("exchange: %v", err)) // strings and lists of strings
	}
	return p
}
