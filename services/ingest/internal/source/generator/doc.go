// Package generator makes up prices that look like a market's: pairs with different rates, bursts, spreads and day
// figures. The same seed and the same times give the same prices. Prices are counted in whole steps of the pair's
// last digit; floating point drives the dice and never is a price.
package generator
