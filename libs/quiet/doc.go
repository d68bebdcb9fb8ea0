// Package quiet keeps a trouble that repeats from filling the log: of each kind it writes a line once in a while, and
// counts the others in the next.
package quiet
