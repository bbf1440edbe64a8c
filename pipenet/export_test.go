package pipenet

import (
	"reflect"

	"github.com/virtnet/virtnet"
)

// Down makes the engine of a sub-network report that the network under it is gone. The core gives out neither.
func Down(n *virtnet.SubNetwork, err error) {
	e := (*engine)(reflect.ValueOf(n).Elem().FieldByName("engine").Elem().UnsafePointer())
	e.core.(virtnet.Notifier).VNetDown(err)
}
