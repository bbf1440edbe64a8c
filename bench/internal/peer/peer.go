// Package peer has what is compared: TCP itself, our mux, and other multiplexers. Each carries streams between two
// ends of this process.
package peer

import (
	"fmt"
	"net"
	"strings"

	"github.com/virtnet/virtnet/bench/internal/carrier"
)

// A Net is two ends, between which there are streams. It is safe for concurrent use.
type Net interface {
	// Dial opens a stream at the client's end.
	Dial() (net.Conn, error)
	// Accept waits for one at the server's.
	Accept() (net.Conn, error)
	// AcceptBack waits at the client's end, as a program does whose two ends both open streams. Nobody opens any there, so it
	// fails after Close, and no earlier.
	AcceptBack() (net.Conn, error)
	// Close ends everything on both ends.
	Close()
}

// A Peer is a contestant.
type Peer struct {
	Name     string
	Settings string // how it was set up, for a reader of the figures
	open     func(c carrier.Carrier) (Net, error)
	Extra    bool // is measured only if it is asked for
}

// All are the contestants; the first is the one others are compared to.
var All = []Peer{
	{Name: "tcp", Settings: "a TCP connection for each stream, package net's settings", open: openTCP},
	{Name: "mux", Settings: "the zero Config", open: openMux},
	{Name: "resume", Settings: "mux with a zero Resume", open: openResume, Extra: true},
	{Name: "nest", Settings: "mux with a zero Resume, in a stream of mux with the zero Config", open: openNest, Extra: true},
	{Name: "yamux", Settings: "hashicorp/yamux 0.1.2; default: stream window 256 KiB, AcceptBacklog 256; keep-alive off", open: openYamux},
	{Name: "smux", Settings: "xtaci/smux 1.5.56; protocol 2, MaxReceiveBuffer 16 MiB, MaxStreamBuffer 1 MiB, MaxFrameSize 32 KiB; keep-alive off", open: openSmux},
	{Name: "go-yamux", Settings: "libp2p/go-yamux 5.1.0; default: stream window 256 KiB growing to 16 MiB; MaxIncomingStreams unlimited; keep-alive off", open: openGoYamux},
	{Name: "http2", Settings: "x/net/http2 0.62.0; frames 64 KiB, stream window 4 MiB, connection window 1 GiB", open: openHTTP2},
}

// ByName returns a contestant.
func ByName(name string) (Peer, error) {
	var names []string
	for _, p := range All {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Peer{}, fmt.Errorf("peer %q is not known: there are %s", name, strings.Join(names, ", "))
}

// Open sets the contestant up over a carrier of that name.
func (p Peer) Open(over string) (Net, error) {
	c, err := carrier.Open(over)
	if err != nil {
		return nil, err
	}
	n, err := p.open(c)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("set up %s over %s: %w", p.Name, over, err)
	}
	return n, nil
}
