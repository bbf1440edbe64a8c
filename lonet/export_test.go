package lonet

import "github.com/virtnet/virtnet"

// Down makes the engine of a sub-network report that the network under it is gone.
func Down(n *virtnet.SubNetwork, err error) { engineOf(n).notifier.VNetDown(err) }
