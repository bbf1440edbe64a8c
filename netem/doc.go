// Package netem has delays and faults for the networks of virtnet: latency, bandwidth, loss, dials that fail,
// connections that break, partitions, hosts that crash. They can be changed while the program runs, and they come from
// a seed.
//
//	em := netem.New(1)
//	net := pipenet.Config{Emulator: em}.New("t")
//	err := em.Link("α", "β").Set(netem.Rules{Latency: netem.Uniform(1*time.Millisecond, 9*time.Millisecond)})
//	p := em.Isolate("γ")
//	...
//	p.Heal()
//
// A [Net] is given to a network when that is made. It comes between the core and the engine, so it works the same on
// every kind of network; without rules it does nothing. What passes is shaped by ordered pairs of hosts: a [Link] is the way
// from one to another, and has [Rules], the network's ([Net.SetAll]) or its own.
//
// # What is emulated
//
// A stream of bytes over TCP, as programs see it: no byte is ever missing, doubled or out of order. A Write is
// cut into segments, each of which arrives after the link's latency, and after those before it. What is lost is sent
// again: a stall. Until the window is full a Write returns at once; then it waits. Close and CloseWrite travel
// behind the data. A dial takes the latency of both ways; what holds a link holds its dials.
//
// A fault that is removed leaves nothing behind: what was held arrives, connections go on. Only [Link.Reset], [Link.Sever],
// [Net.Crash], [Net.Vanish] and the rules that say so end connections. The reset is not held by anything.
//
// What has been handed to the network's own connection has arrived: a partition does not call it back. On a pipenet
// without buffer that is the segment that waits for its Read; a Write that was waiting when the first rule was set stays what it
// was, one that returns when it has been read.
//
// # Time and chance
//
// Everything that waits is a durable block in the sense of testing/synctest: in a bubble times are exact and cost
// nothing. Make the Net and the network inside the bubble.
//
// Each random number is a function of the seed and of what it is for: the two hosts, which of them has dialled,
// the connection's number among those, the segment's number on it. So it does not matter which goroutine
// runs first. What may differ between two runs is what one host does towards one other at the same instant in several
// goroutines: which of two connections is the first, which of two Writes on a link with a Bandwidth is sent first.
//
// # What it costs
//
// A connection at rest has no goroutine and no timer. One that has something on the way has a timer, and while it hands
// that to the network's connection a goroutine. What a connection has sent before it was closed is kept until it can
// arrive, or the sub-network is closed.
//
// In a network of several processes each shapes what its own hosts send.
package netem
