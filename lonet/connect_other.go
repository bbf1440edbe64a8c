//go:build !linux

package lonet

import "syscall"

var connectAhead func(network, address string, c syscall.RawConn) error
