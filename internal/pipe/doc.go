// Package pipe is an in-memory, full-duplex connection, as net.Pipe and several times faster.
//
// [New] makes a pair of [Conn]. It is synchronous, as net.Pipe: a Write returns when its bytes have been read. Or
// it is buffered, as TCP: each direction holds some bytes that nobody has read yet.
//
// It also ends as TCP does: each direction can be closed alone, and an end that is closed, half closed or reset
// gives the peer the errors that a socket gives. Errors are bare: the caller wraps them in *net.OpError.
//
// # Virtual time
//
// All waiting is durable blocking in the sense of testing/synctest. A pair may be made outside the bubble that
// uses it; but it is used in one bubble only, deadlines included.
//
// # Memory
//
// A pair with both directions is one allocation of 640 bytes, and so are two that wait in Read; a second Read
// that waits beside the first costs one more waiter, and so does a second Write. Buffers
// are taken from a pool as bytes arrive, and given back as they are read. A deadline costs a timer from when it is
// first set. There are no goroutines.
package pipe
