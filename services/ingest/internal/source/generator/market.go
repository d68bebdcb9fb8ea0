package generator

import "github.com/tickfan/tickfan/proto/subject"

// spec is what makes a pair itself.
type spec struct {
	symbol subject.Symbol
	start  string  // opening price; its last digit is the step
	rate   float64 // ticks a second, on average
	spread int     // usual distance of bid and ask, in steps
	vol    float64 // how far the price usually moves in a second, in millionths of it
}

// market is some 95 ticks a second in all, enough for a page full of prices to look alive and few enough to read.
// The symbols are real, the prices are not.
var market = [...]spec{
	{"BTC-USD", "64123.51", 18, 1, 60},
	{"ETH-USD", "3141.59", 12, 1, 75},
	{"SOL-USD", "172.48", 8, 1, 95},
	{"XRP-USD", "0.6231", 6, 1, 90},
	{"DOGE-USD", "0.16234", 5, 1, 110},
	{"EUR-USD", "1.08421", 5, 1, 9},
	{"ADA-USD", "0.4511", 4, 1, 95},
	{"BTC-EUR", "59142.07", 4, 60, 60},
	{"AVAX-USD", "36.12", 3, 1, 105},
	{"LINK-USD", "17.345", 3, 4, 95},
	{"GBP-USD", "1.27134", 3, 1, 11},
	{"ETH-EUR", "2897.66", 3, 12, 75},
	{"DOT-USD", "6.812", 2.5, 2, 95},
	{"LTC-USD", "83.47", 2.5, 1, 80},
	{"BCH-USD", "462.31", 2, 9, 90},
	{"UNI-USD", "9.874", 2, 4, 110},
	{"SUI-USD", "1.0874", 2, 3, 130},
	{"SHIB-USD", "0.00002431", 2, 1, 120},
	{"POL-USD", "0.5123", 2, 2, 105},
	{"NEAR-USD", "6.421", 1.5, 3, 115},
	{"ATOM-USD", "8.312", 1.5, 3, 95},
	{"XLM-USD", "0.10873", 1.5, 2, 85},
	{"ETH-BTC", "0.04899", 1.2, 1, 45},
	{"AAVE-USD", "101.22", 1, 7, 115},
}
