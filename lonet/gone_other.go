//go:build !unix

package lonet

import "net"

// isGone can't tell here: a dial that was given up may come out of Accept, and ends on first use.
func isGone(*net.TCPConn, bool) bool { return false }

func waitGone(*net.TCPConn, bool) bool { return false }
