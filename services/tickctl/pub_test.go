package tickctl

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tickfan/tickfan/libs/natstest"
)

func TestPub(t *testing.T) {
	server := natstest.Start(t)
	t.Setenv("TICKFAN_NATS", server.URL())

	code, out, err := run(t, "", "pub", "BTC-USD", "64123.51")
	if code != exitFault || out != "" || !strings.Contains(err, "no ingest answered on ingest.BTC-USD") {
		t.Errorf("without ingest: code %d, out %q, err %q", code, out, err)
	}

	got := make(chan *nats.Msg, 1)
	answers := make(chan string, 1)
	nc := server.Connect(t)
	sub, suberr := nc.Subscribe("ingest.>", func(m *nats.Msg) {
		got <- m
		if answer := <-answers; answer != "" {
			_ = m.Respond([]byte(answer))
		}
	})
	if suberr != nil {
		t.Fatal(suberr)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}

	const ok = `{"ok":true,"epoch":1763769600,"seq":1042}`
	for _, test := range []struct {
		answer  string
		args    []string
		payload string
		code    int
		says    string
	}{
		{ok, []string{"64123.51"}, `{"price":"64123.51"}`, exitDone, "BTC-USD 64123.51 ok epoch=1763769600 seq=1042\n"},
		{ok, []string{"64123.50", "--bid", "1", "--ask=2.0"}, `{"price":"64123.50","bid":"1","ask":"2.0"}`, exitDone, "BTC-USD 64123.50 ok "},
		{ok, []string{`{"price": 64123.510}`}, `{"price": 64123.510}`, exitDone, "BTC-USD 64123.510 ok "},
		{`{"error":{"code":"bad_price","message":"price \"abc\": not a decimal"}}`, []string{"abc"}, `{"price":"abc"}`, exitFault,
			"tickctl: BTC-USD refused: bad_price: price \"abc\": not a decimal\n"},
		{`what?`, []string{"1"}, `{"price":"1"}`, exitFault, "read answer on ingest.BTC-USD"},
		{`{}`, []string{"1"}, `{"price":"1"}`, exitFault, "neither ok nor an error"},
		{"", []string{"1", "--timeout", "100ms"}, `{"price":"1"}`, exitFault, "no ingest answered on ingest.BTC-USD"},
	} {
		answers <- test.answer
		code, out, err := run(t, "", append([]string{"pub", "BTC-USD"}, test.args...)...)
		if code != test.code || !strings.Contains(out+err, test.says) || (out == "") == (err == "") {
			t.Errorf("%v: code %d, out %q, err %q", test.args, code, out, err)
		}
		if m := <-got; m.Subject != "ingest.BTC-USD" || string(m.Data) != test.payload {
			t.Errorf("%v: published %s %q", test.args, m.Subject, m.Data)
		}
	}

	for answer, want := range map[string]int{ok: exitDone, `{"error":{"code":"bad_price","message":"no"}}`: exitFault} {
		answers <- answer
		code, out, err := run(t, "", "pub", "BTC-USD", "1", "--json")
		if code != want || out != answer+"\n" || (err == "") != (want == exitDone) {
			t.Errorf("--json: code %d, out %q, err %q", code, out, err)
		}
		<-got
	}

	for _, args := range [][]string{{"btc usd", "1"}, {"BTC.USD", "1"}, {"BTC-USD", `{"price":1}`, "--bid", "1"}} {
		if code, _, err := run(t, "", append([]string{"pub"}, args...)...); code != exitFault || err == "" {
			t.Errorf("%v: code %d, err %q", args, code, err)
		}
	}
	select {
	case m := <-got:
		t.Errorf("published %s %q", m.Subject, m.Data)
	default:
	}
}

func TestPubWithoutNATS(t *testing.T) {
	server := natstest.Start(t)
	server.Stop()
	code, _, err := run(t, "", "pub", "BTC-USD", "1", "--timeout", "50ms", "--nats", server.URL())
	if code != exitFault || !strings.Contains(err, server.URL()) || !strings.Contains(err, "no answer within 50ms; is nats-server or dev running there?") {
		t.Errorf("code %d, err %q", code, err)
	}
}
