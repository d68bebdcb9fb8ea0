// Package api is the registry's NATS micro service: it reads requests on registry.<region>.>, has them done and
// answers in JSON. Every refusal has a code.
package api
