package lonet

import "time"

// fault keeps a fault that comes and goes from filling the log: it is over only once it has not been there for a while.
// It is not safe for concurrent use.
type fault struct {
	there bool
	last  time.Time
}

// calm is how long a fault must not have been there to be over.
const calm = time.Second

// begins notes that the fault is there, and tells whether it was not.
func (f *fault) begins() bool {
	begins := !f.there
	f.there, f.last = true, time.Now()
	return begins
}

// over notes that the fault is not there at the moment, and tells whether it has just ended.
func (f *fault) over() bool {
	if !f.there || time.Since(f.last) < calm {
		return false
	}
	f.there = false
	return true
}
