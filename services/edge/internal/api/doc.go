// Package api is what the edge says over HTTP: the page, the newest tick of a symbol, the list of symbols, and the way to
// the WebSocket. It checks the Origin of everything under /v1/ and answers errors as {"error":{"code","message"}}.
package api
