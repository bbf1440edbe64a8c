package mux

import (
	"net"
	"syscall"
)

// notSent is up to how many bytes the kernel takes that it cannot send at once. Whatever is written later waits behind
// them, so there must be few; the kernel needs some, to send on while we are told that it wants more.
const notSent = 128 << 10

// keepQueueShort makes Write block while the kernel has much that it has not sent.
func keepQueueShort(c *net.TCPConn) {
	const tcpNotSentLowat = 25 // of tcp(7); package syscall lacks it on some architectures
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, notSent) // it is for latency only
	})
}
