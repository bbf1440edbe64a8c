// Package pipenet is a virtual network in the memory of one process: many hosts, whose connections are pipes.
//
//	net := pipenet.New("t")
//	α, β := net.Host("α"), net.Host("β")
//	l, err := α.Listen(ctx, ":80")
//	c, err := β.Dial(ctx, "α:80")
//
// Everything that blocks does so on channels and conds made by the network's own calls: a network made inside a bubble
// of testing/synctest is durably blocking there, so a test runs hours of its hosts' life in milliseconds. Make the
// network inside the bubble.
//
// Connections are synchronous, as net.Pipe's: a Write returns when it has been read. Programs in which both
// ends write before they read, which works on TCP, want the buffers of [Config].
package pipenet
