// Package daemon is what every command of Tickfan does around its service: flags, the log,
// signals, the ops port and the exit code.
//
// A main is one line over it, os.Exit(daemon.Main(…)); the service is a Run function that
// returns when its context ends. Nothing but main calls os.Exit.
package daemon
