// Package certtest makes certificates for tests: an authority of their own, whose certificates are in files as an
// operator would have them.
package certtest
