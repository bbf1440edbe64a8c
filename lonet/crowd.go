package lonet

import "time"

// crowd is the incoming connections that are not past the handshake: those whose request has not come, and those that
// were turned away and have not gone yet. Anybody can be in it, so it has a number of places; who comes when none is
// free gets that of the one who has been silent longest. A place is free only once its connection is closed, and so
// the number bounds the descriptors, and the goroutines, that strangers cost.
type crowd struct {
	overdue               // those who may be dropped, the one silent longest first
	places  chan struct{} // holds a value for each place that is taken
}

func newCrowd(places int, patience time.Duration) *crowd {
	return &crowd{overdue: overdue{after: patience}, places: make(chan struct{}, places)}
}

// take takes a place. If it has to wait for one, that is for as long as it takes to close a connection: each who waits has
// dropped somebody, or there is nobody left who isn't on the way out.
func (c *crowd) take() {
	select {
	case c.places <- struct{}{}:
	default:
		c.drop()
		c.places <- struct{}{}
	}
}

// leave gives a place back.
func (c *crowd) leave() { <-c.places }
