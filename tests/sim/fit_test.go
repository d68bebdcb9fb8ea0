package sim

import (
	"math"
	"slices"
	"testing"
)

// base is added to each y for its weight, so that the noise of the smallest does not count most.
const base = 0.01

// fit gives the factors, none below 0, with which the columns of x make up y best: least squares of the relative errors.
func fit(x [][]float64, y []float64) []float64 {
	columns := make([]int, len(x[0]))
	for i := range columns {
		columns[i] = i
	}
	for {
		f := solve(x, y, columns)
		i := slices.Index(f, slices.Min(f))
		if len(f) > 1 && f[i] < 0 {
			columns = slices.Delete(columns, i, i+1)
			continue
		}
		out := make([]float64, len(x[0]))
		for k, c := range columns {
			out[c] = max(0, f[k])
		}
		return out
	}
}

// solve does so with some of the columns, by the normal equations.
func solve(x [][]float64, y []float64, columns []int) []float64 {
	n := len(columns)
	a := make([][]float64, n)
	for i := range a {
		a[i] = make([]float64, n+1)
	}
	for r := range x {
		w := 1 / ((y[r] + base) * (y[r] + base))
		for i, c := range columns {
			for k, d := range columns {
				a[i][k] += w * x[r][c] * x[r][d]
			}
			a[i][n] += w * x[r][c] * y[r]
		}
	}
	for i := range n { // columns of which too few rows tell one from the other share what they cost
		a[i][i] *= 1 + 1e-9
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

// slope is that of the line through points which leaves least squares.
func slope(x, y []float64) float64 {
	n := float64(len(x))
	var sx, sy, sxx, sxy float64
	for i := range x {
		sx, sy, sxx, sxy = sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i]
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

func TestFit(t *testing.T) {
	want := []float64{6e-6, 0, 2e-6, 0.004}
	x := [][]float64{{5000, 0, 0, 1}, {0, 0, 10, 1}, {5000, 50_000, 4400, 1}, {625, 6250, 550, 1}, {625, 62_500, 5500, 1}, {80, 80_000, 7000, 1}, {30, 30_000, 4000, 1}}
	var y []float64
	for _, row := range x {
		v := 0.0
		for i := range row {
			v += want[i] * row[i]
		}
		y = append(y, v)
	}
	y[1] -= 0.001 // noise
	for i, got := range fit(x, y) {
		if got < 0 || math.Abs(got-want[i]) > 0.3*want[i]+1e-7 {
			t.Errorf("factor %d is %v, want %v", i, got, want[i])
		}
	}
	if got := slope([]float64{1, 2, 3}, []float64{1, 3, 5}); got != 2 {
		t.Errorf("slope %v", got)
	}
}
