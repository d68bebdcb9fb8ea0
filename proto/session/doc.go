// Package session is the client protocol v1: Request is what a client says, Message what an edge answers, AppendTick
// a tick as clients see it, each as JSON or as a MessagePack map with the same fields. In Compact ticks are what has
// changed: AppendFull and AppendChanged write them, a Decoder reads them. PROTOCOL.md says what they mean; the files in
// ../vectors show each of them in its encodings. What a client sends is read exactly: names match in every letter,
// nothing is given twice, nothing follows, and what is refused is named with what is allowed.
package session
