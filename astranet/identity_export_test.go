package astranet

import (
	"errors"
	"os"
	"time"

	"github.com/virtnet/virtnet/astranet/ca"
)

// ShownBy returns the serial number of the certificate that the node with that id has shown on the link in use, "" if there is none.
func ShownBy(a AstraNet, id uint64) string {
	n := a.(*node)
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[id]; p != nil && len(p.links) > 0 {
		return ca.Serial(p.links[0].identity.Chain[0].SerialNumber)
	}
	return ""
}

// Announce has a node tell another one of services, whether it has them or not.
func Announce(a AstraNet, id uint64, services ...ServiceId) {
	n := a.(*node)
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[id]; p != nil && len(p.links) > 0 {
		for _, s := range services {
			p.links[0].announceLocked(s, true)
		}
	}
}

// KnownOf returns how many services a node has taken notice of that another one has told, whether it shows them or not.
func KnownOf(a AstraNet, id uint64) int {
	n := a.(*node)
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[id]; p != nil {
		return len(p.services)
	}
	return 0
}

// OpenStreams opens streams of a kind on the link with another node, and returns how many of them that has left open after a while.
func OpenStreams(a AstraNet, id uint64, kind byte, count int) (open int, err error) {
	n := a.(*node)
	n.mu.Lock()
	l := n.peers[id].links[0]
	n.mu.Unlock()
	ended := make(chan bool, count)
	for range count {
		st, err := l.open(n.ctx, kind)
		if err != nil {
			return 0, err
		}
		go func() {
			_ = st.SetReadDeadline(time.Now().Add(time.Second))
			_, err := st.Read(make([]byte, 1))
			ended <- !errors.Is(err, os.ErrDeadlineExceeded)
			_ = st.Close()
		}()
	}
	for range count {
		if !<-ended {
			open++
		}
	}
	return open, nil
}
