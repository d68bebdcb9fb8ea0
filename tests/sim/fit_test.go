package sim

import "math"

// fit gives the factors with which the columns of x make up y best: least squares by the normal equations, each row
// weighed by its y, so that a small one counts as much as a large one.
func fit(x [][]float64, y []float64) []float64 {
	n := len(x[0])
	a := make([][]float64, n)
	for i := range a {
		a[i] = make([]float64, n+1)
	}
	for r := range x {
		w := 1 / math.Max(y[r]*y[r], 1e-12)
		for i := range n {
			for k := range n {
				a[i][k] += w * x[r][i] * x[r][k]
			}
			a[i][n] += w * x[r][i] * y[r]
		}
	}
	for i := range n { // Gauss
		p := i
		for k := i; k < n; k++ {
			if math.Abs(a[k][i]) > math.Abs(a[p][i]) {
				p = k
			}
		}
		a[i], a[p] = a[p], a[i]
		for k := range n {
			if k == i || a[i][i] == 0 {
				continue
			}
			f := a[k][i] / a[i][i]
			for c := i; c <= n; c++ {
				a[k][c] -= f * a[i][c]
			}
		}
	}
	out := make([]float64, n)
	for i := range out {
		if a[i][i] != 0 {
			out[i] = a[i][n] / a[i][i]
		}
	}
	return out
}

// slope is the exponent k of y = c x^k through two points.
func slope(x1, y1, x2, y2 float64) float64 { return math.Log(y2/y1) / math.Log(x2/x1) }
