// Package dev is Tickfan in one process, for a developer's machine: an embedded nats-server, then the same Run functions
// that the services' own commands call, each with the Config it would have there. It wires nothing itself.
package dev
