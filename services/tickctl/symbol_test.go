package tickctl

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

func TestSymbol(t *testing.T) {
	local := newRegion(t, "local")
	t.Setenv("TICKFAN_NATS", local.URL())
	code, out, err := run(t, "", "symbol", "BTC-USD", "--for", "0s")
	want := `^symbol  BTC-USD in region local
wanted  by 2 buckets of 2 edges, 1 of them in mode every
        edge-a-ab12cd-0  every
        edge-b-ef34gh-0  latest
newest  64123\.51  bid 64123\.50  ask -  epoch 1763769600  seq 1042  \S+ old
$`
	if code != exitDone || err != "" || !regexp.MustCompile(want).MatchString(out) {
		t.Errorf("code %d, err %q, out\n%s", code, err, out)
	}

	local.change(func() { local.wanted = nil })
	code, out, err = run(t, "", "symbol", "ETH-USD", "--for", "500ms")
	if code != exitDone || err != "" || !regexp.MustCompile(`(?s)wanted  by nobody\nnewest  no price yet\nrate    \d+\.\d a second \(\d+ ticks in 500ms\)\n$`).MatchString(out) {
		t.Errorf("code %d, err %q, out\n%s", code, err, out)
	}

	code, out, err = run(t, "", "symbol", "ETH-USD", "--for", "400ms", "--json")
	var report symbolReport
	if code != exitDone || err != "" || json.Unmarshal([]byte(out), &report) != nil || report.Ticks == 0 || report.ForMS != 400 ||
		report.AgeMS != never || report.Region != "local" || !strings.Contains(out, `"buckets":{},"newest":null`) {
		t.Errorf("code %d, err %q, out %s", code, err, out)
	}
	code, out, err = run(t, "", "symbol", "BTC-USD", "--for", "0s", "--json")
	if code != exitDone || err != "" || !strings.Contains(out, `"newest":{"kind":"tick","symbol":"BTC-USD","epoch":1763769600,"seq":1042,"price":"64123.51"`) {
		t.Errorf("code %d, err %q, out %s", code, err, out)
	}
	if code, _, err := run(t, "", "symbol", "btc"); code != exitFault || !strings.Contains(err, "bad_symbol") {
		t.Errorf("code %d, err %q", code, err)
	}
}

// Ticks that are published again are not counted: the region says each second one so.
func TestSymbolCountsChanges(t *testing.T) {
	local := newRegion(t, "local")
	_, out, _ := run(t, "", "symbol", "ETH-USD", "--for", "1s", "--json", "--nats", local.URL())
	var report symbolReport
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Ticks == 0 || report.Ticks > 30 { // of 50 messages
		t.Errorf("%v, %s", err, out)
	}
}
