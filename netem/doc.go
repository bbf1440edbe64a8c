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
// was, one that returns when it has been read, and so does one that another goroutine makes at that moment.
//
// A host that has vanished ([Net.Vanish]) says nothing, and when it starts again it answers what is sent on its old
// connections with a reset, as TCP does.
//
// # Plans
//
// A [Plan] is a schedule of faults: made in Go, read from a file whose errors name the line ([ParsePlan]), or made from a
// seed ([RandomPlan]). [Plan.Run] does what it says beside the program, in virtual time or in real time. Package netemtest
// runs a test with many seeds.
//
// # Time and chance
//
// Everything that waits is a durable block in the sense of testing/synctest: in a bubble times are exact and cost
// nothing. Make the Net and the network inside the bubble.
//
// Each random number is a function of the seed and of what it is for: the two hosts, which of them has dialled,
// the number of the connection's dial among those, the segment's number on it. So it does not matter which goroutine
// runs first. What a link with a Bandwidth is given to send at one instant it sends in the order of these numbers, and
// [Link.Step] goes by it, too: first the connections that the sending host has dialled, and then those that it has accepted, the
// oldest before the others. What may differ between two runs is what one host does towards one other at the same
// instant in several goroutines: which of two dials is the first, or which of two Writes on one connection.
//
// # What it costs
//
// While nothing was asked of a link its connections are only counted: a dial, a Read and a Write cost what they do without
// a Net, but for a few nanoseconds. From the first rule on each weighs about 400 bytes more at either end, and so does one
// that was given a deadline for its Writes, or was half closed, or has failed. The kernel never copies from one connection to
// another past a Net, and none has a SyscallConn.
//
// A Net keeps its links, of about 300 bytes, for good: as many as there are pairs of names between which there was a connection, or
// that were asked for. A change of a link looks at its connections; SetAll and a partition look at all links.
//
// A connection at rest has no goroutine and no timer. One that has something on the way has a timer, and while it hands
// that to the network's connection a goroutine. What a connection has sent before it was closed is kept until it can
// arrive, or the sub-network is closed: then it is lost, and the other end sees a reset.
//
// In a network of several processes each shapes what its own hosts send. What a host that has vanished leaves of connections
// to other processes stays until the sub-network is closed, and those are not reset when it starts again.
package netem
