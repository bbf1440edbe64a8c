package lonet

import (
	"net/netip"
	"syscall"
)

// connectAhead connects a new socket before package net does. On loopback that needs no waiting, so package net
// finds the socket connected, where its own first try would have it wait for the poller. Whatever goes wrong,
// it will meet again.
func connectAhead(_, address string, c syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !ap.Addr().Is4() {
		return nil
	}
	to := &syscall.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}
	return c.Control(func(fd uintptr) { _ = syscall.Connect(int(fd), to) })
}
