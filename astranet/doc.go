// Package astranet is a mesh between machines: nodes that are linked, each by one connection, reach each other's services
// over any number of independent streams.
//
// A node, made by [New], has a random number, its id, which is its host name, and listeners at ports of its own. What it binds
// under a name is a service, that any node can dial by the name:
//
//	server := astranet.New()
//	l, err := server.Bind("", "greeter")
//	err = server.ListenAndServe("tcp", "127.0.0.1:10000")
//
//	client := astranet.New()
//	err := client.Join("tcp", "127.0.0.1:10000")
//	conn, err := client.Dial("", "greeter")
//
// Listeners and connections are those of package net: net/http, gRPC and the like run on them. A connection has CloseWrite and
// CloseRead, and its RemoteAddr is an *[Addr], which has the name that the other node has proved.
//
// A program closes its node before it ends: what it has written and closed arrives then, and the other ends hear that it is gone. After a
// kill they wait for it to come back, for [Config.Grace].
//
// # Links and sessions
//
// A link is a connection between two nodes: TCP, a unix socket, a WebSocket, which also gets through HTTP proxies ([AstraNet] has a
// Handler for servers that do other things too), a network of the program's own ([Config.Networks]), or any ordered reliable byte stream
// (Attach). It is kept alive, and a dead one is noticed within 3 s. Join makes one, and makes it again for ever when it is lost. The
// streams between two nodes are in a session, which is carried by a link and outlives it: while there is none they pause, for
// [Config.Grace] at most.
//
// # Security
//
// With [Config.Credentials] the nodes authenticate each other by certificates of the mesh's own authority (package ca), and
// all links are TLS 1.3. Without, a node takes and makes links on this machine only, unless [Config.Insecure] is set.
// [Config.Rules] says who may dial and bind what.
//
// # Errors
//
// Errors are *net.OpError. Their causes, such as [ErrNoService] and [ErrRefused], match the standard errors that package net would give,
// and a [NodeError] around them names the node. docs/astranet.md, section 8, has which is when.
//
// # Cost
//
// A connection has no goroutine, and takes about 200 bytes at each end while it rests. A link has five goroutines on each end, a session
// four at most. All of it runs in a testing/synctest bubble, if the links do (Attach over pipes, or Config.Networks).
package astranet
