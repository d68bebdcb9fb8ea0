package tick

import (
	"encoding/json"
	"errors"
	"math/big"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

func TestParseDecimal(t *testing.T) {
	for _, s := range []string{"0", "1", "0.0", "0.00", "1.0", "62975.90", "0.00012", "64123.51", "999999999999999999", "999999.999999999999",
		"0.000000000001", "100000000000000000", "123456.789012345678"} {
		d, err := ParseDecimal(s)
		if err != nil || d.String() != s || !d.Given() || d.Positive() != (strings.Trim(s, "0.") != "") {
			t.Errorf("%q: %q, given %v, positive %v, %v", s, d, d.Given(), d.Positive(), err)
		}
	}
	for s, want := range map[string]error{
		"": ErrNotDecimal, "abc": ErrNotDecimal, "-1": ErrNotDecimal, "+1": ErrNotDecimal, "1e400": ErrNotDecimal, "1E2": ErrNotDecimal,
		".5": ErrNotDecimal, "5.": ErrNotDecimal, ".": ErrNotDecimal, "1.2.3": ErrNotDecimal, "01": ErrNotDecimal, "00": ErrNotDecimal,
		"00.5": ErrNotDecimal, " 1": ErrNotDecimal, "1 ": ErrNotDecimal, "1,5": ErrNotDecimal, "0x10": ErrNotDecimal, "1_000": ErrNotDecimal,
		"NaN": ErrNotDecimal, "Inf": ErrNotDecimal, "١": ErrNotDecimal,
		"1000000000000000000": ErrTooLong, "0.0000000000001": ErrTooLong, "1." + strings.Repeat("3", 30): ErrTooLong,
		"0123456789012345678901": ErrNotDecimal, strings.Repeat("9", 4096): ErrTooLong,
	} {
		if d, err := ParseDecimal([]byte(s)); !errors.Is(err, want) || d.Given() {
			t.Errorf("%.40q: %v, %v, want %v", s, d, err, want)
		}
	}
}

// TestDecimalRoundTrip holds random coefficients and scales against math/big.
func TestDecimalRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		coef, scale := rnd.Uint64N(1e18)>>rnd.IntN(60), rnd.IntN(MaxFraction+1)
		d := NewDecimal(coef, scale)
		if d.Coef() != coef || d.Scale() != scale {
			t.Fatalf("%d / 10^%d became %d / 10^%d", coef, scale, d.Coef(), d.Scale())
		}
		want := new(big.Rat).SetFrac(new(big.Int).SetUint64(coef), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)).FloatString(scale)
		if d.String() != want {
			t.Fatalf("%d / 10^%d is %q, want %q", coef, scale, d, want)
		}
		if back, err := ParseDecimal(want); err != nil || back != d {
			t.Fatalf("%q: %v, %v", want, back, err)
		}
	}
}

func TestDecimalZeroValueIsNotGiven(t *testing.T) {
	var d Decimal
	if d.Given() || d.Positive() || d.String() != "" || d.Scale() != 0 || d.Coef() != 0 {
		t.Errorf("given %v, positive %v, %q, %d, %d", d.Given(), d.Positive(), d, d.Scale(), d.Coef())
	}
	if zero := MustDecimal("0"); !zero.Given() || zero.Positive() || zero == d {
		t.Errorf("the number 0: given %v, positive %v", zero.Given(), zero.Positive())
	}
}

func TestDecimalInJSON(t *testing.T) {
	type quote struct {
		Price Decimal `json:"price,omitempty"`
		Bid   Decimal `json:"bid,omitempty"`
	}
	p, err := json.Marshal(quote{Price: MustDecimal("62975.90")})
	if err != nil || string(p) != `{"price":"62975.90"}` {
		t.Errorf("%s, %v", p, err)
	}
	var q quote
	if err := json.Unmarshal([]byte(`{"price":"0.50","bid":""}`), &q); err != nil || q.Price != MustDecimal("0.50") || q.Bid.Given() {
		t.Errorf("%+v, %v", q, err)
	}
	for _, bad := range []string{`{"price":0.5}`, `{"price":"-1"}`, `{"price":"1e5"}`} {
		if err := json.Unmarshal([]byte(bad), &q); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestDecimalPanicsForTheProgrammer(t *testing.T) {
	for name, f := range map[string]func(){
		"coefficient": func() { NewDecimal(1e18, 0) },
		"scale":       func() { NewDecimal(1, 13) },
		"below":       func() { NewDecimal(1, -1) },
		"text":        func() { MustDecimal("-1") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

var decimalSyntax = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.[0-9]{1,12})?$`)

func FuzzParseDecimal(f *testing.F) {
	for _, s := range []string{"", "0", "0.5", "00.5", "64123.51", "1e400", "-1", ".5", "5.", "999999999999999999", "0.0000000000001", "0.000000000001"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		digits := len(s) - strings.Count(s, ".")
		want := decimalSyntax.MatchString(s) && digits <= MaxDigits
		d, err := ParseDecimal(s)
		if (err == nil) != want {
			t.Fatalf("%q: %v, want taken %v", s, err, want)
		}
		if err == nil && d.String() != s {
			t.Fatalf("%q comes back as %q", s, d)
		}
	})
}
