package lonet

import "github.com/virtnet/virtnet"

// Down makes the engine of a sub-network report that the network under it is gone.
func Down(n *virtnet.SubNetwork, err error) { engineOf(n).notifier.VNetDown(err) }

const (
	LingerTime = lingerTime
	WatchAfter = watchAfter
	Redials    = redials
)

// Crowd returns how many places of a sub-network strangers have.
func Crowd(n *virtnet.SubNetwork) int { return len(engineOf(n).halfOpen.places) }
