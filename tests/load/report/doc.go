// Package report is what a load test has found: every run with its single figures, and for each scenario what was wanted,
// what came of it and whether that is reached. It writes the same as JSON, as Markdown and, the two figures that say
// most, as an SVG picture. It does no input or output.
package report
