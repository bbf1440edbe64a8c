//go:build !unix

package lonet

import (
	"net"
	"os"
)

// atHand can't look here: it says that there is nothing.
type atHand struct{ conn *net.TCPConn }

func (atHand) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }
