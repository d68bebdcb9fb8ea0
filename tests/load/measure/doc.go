// Package measure reads what a server process costs: its CPU time and resident memory from /proc, the kernel's memory for
// its sockets as `ss -m` shows it (sock_diag), and the machine that a figure was had on. Linux only.
package measure
