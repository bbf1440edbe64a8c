// Package proxy lets ordinary programs dial on a virtual network: one port on which SOCKS5, HTTP CONNECT and plain HTTP
// proxying all work. The first byte that a client sends tells which it is.
//
// Names are dialled as they come, and DNS is never asked. An IP address is a name like any other, which hardly any host
// has.
//
// A client has one goroutine until it is known what it speaks, and then those that package net/http has for it, or
// two. There is no authentication: whoever can connect to the port can dial.
package proxy
