// Package compose runs docker-compose.yml and uses it as a newcomer does: it waits until all is healthy, reads what hello
// says, opens the page, publishes by the nats CLI, kills an edge, adds some, and takes all of it down.
//
// It needs a Docker Engine and runs with -compose alone; scripts/compose.sh brings what is missing, and says which of the
// images are stand-ins.
package compose
