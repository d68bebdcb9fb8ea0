// Package page is the board that an edge shows at /: every symbol with its price, live, in one page that loads nothing
// from another host. The page is a client like any other: it uses the documented protocol and nothing else.
//
// The files in files/ are served as they are; there is no build step. main.js puts the parts together.
package page
