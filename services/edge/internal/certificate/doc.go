// Package certificate holds the edge's TLS certificate: it reads the files of --tls-cert and --tls-key, and reads them
// again when they change, so that a certificate is renewed without a restart. A broken new pair never takes the place of
// one that works.
package certificate
