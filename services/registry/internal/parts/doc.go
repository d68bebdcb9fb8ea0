// Package parts keeps the KV store INTEREST: which symbols each bucket wants, in parts, each whole and numbered by its
// edge. A part is written unless the store's number is equal or higher, so requests may come repeated, late, in any
// order and at any registry.
package parts
