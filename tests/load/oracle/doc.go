// Package oracle judges what a client was sent against what was published. It does no input or output: a Track is told of
// each tick, gap and fresh start of one symbol on one connection, in the order of their coming, and counts what must not
// be. It goes by the number that each published price carries and holds the position that Tickfan gave it against that,
// so that a server whose numbering is wrong is found out as well.
package oracle
