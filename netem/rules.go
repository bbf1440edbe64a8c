package netem

import (
	"fmt"
	"time"
)

// Rules are what happens to everything that passes a link, from one host to another. The zero value is nothing.
type Rules struct {
	// Latency is how long each segment takes. Segments of a connection stay in order: one that takes longer
	// holds up those behind it.
	Latency Delay

	// Correlation is how much the latency of a segment is that of the one before it on the connection: 0 not at all,
	// and below 1. The distribution stays what it is.
	Correlation float64

	// Bandwidth is how many bytes the link passes in a second, for all its connections together, which have one queue. 0 is no
	// limit.
	Bandwidth int64

	// Window is how many bytes a connection may have on the way in one direction, before a Write waits: no more than Window in
	// a Latency passes. (Acknowledgements take no time.) 0 means 256 KiB.
	Window int

	// Loss is how probable it is that a segment is lost, and lost again when it is sent again: 0 to 1. As with
	// TCP no byte is ever missing: the connection stalls for the time of the retransmission, which doubles with every
	// loss of the same segment.
	Loss float64

	// Retransmit is how long the first retransmission takes. 0 means 200 ms.
	Retransmit time.Duration

	// Slice is how long a segment may be: a Write is cut into segments of that size, which arrive a nanosecond apart at least, so
	// that a Read that waits gets no more than one. 0 means 16 KiB, or what Bandwidth passes in 10 ms if that is less, but 512
	// bytes at least, and what arrives at one instant comes together. No segment is longer than Window.
	Slice int

	// Dial is what happens to dials, on the link from the host that dials.
	Dial DialFault
	// DialFirst is how many dials Dial happens to, from when the rules are set. 0 means all.
	DialFirst int

	// ResetAfter is how long connections live, from when they are made or the rule is set: then they are reset. 0
	// means no end.
	ResetAfter time.Duration

	// ResetBytes is how many bytes a connection delivers in this direction, from when the rule is set; then it is
	// reset. 0 means no end.
	ResetBytes int64

	// CloseBytes is how many bytes a connection delivers in this direction, from when the rule is set; then it is
	// closed. 0 means no end.
	CloseBytes int64

	// CloseDelay is how much longer than anything else a close takes, or a half close.
	CloseDelay time.Duration
}

// A DialFault is what happens to dials.
type DialFault uint8

const (
	DialPass    DialFault = iota // they go through
	DialRefuse                   // they fail with virtnet.ErrConnRefused, once the latencies of both ways have passed
	DialDiscard                  // nobody answers: they wait until their context ends
)

const (
	defaultWindow     = 256 << 10
	defaultSlice      = 16 << 10
	leastSlice        = 512 // unless it is chosen
	defaultRetransmit = 200 * time.Millisecond
	// maxLosses is how often a segment is lost at most, so that Loss 1 has an end: the stall is then 2^10-1 times
	// Retransmit.
	maxLosses = 10
)

func (r *Rules) window() int {
	if r.Window == 0 {
		return defaultWindow
	}
	return r.Window
}

func (r *Rules) slice() int {
	n := r.Slice
	switch {
	case n > 0:
	case r.Bandwidth > 0:
		n = int(min(max(r.Bandwidth/100, leastSlice), defaultSlice))
	default:
		n = defaultSlice
	}
	return min(n, r.window())
}

func (r *Rules) retransmit() time.Duration {
	if r.Retransmit == 0 {
		return defaultRetransmit
	}
	return r.Retransmit
}

// Check tells what is wrong with the rules.
func (r Rules) Check() error {
	if err := r.Latency.check(); err != nil {
		return fmt.Errorf("netem: Latency: %w", err)
	}
	for _, x := range []struct {
		field string
		value any
		ok    bool
		want  string
	}{
		{"Correlation", r.Correlation, r.Correlation >= 0 && r.Correlation < 1, "from 0 to below 1"},
		{"Loss", r.Loss, r.Loss >= 0 && r.Loss <= 1, "from 0 to 1"},
		{"Bandwidth", r.Bandwidth, r.Bandwidth >= 0, "0 or more"},
		{"Window", r.Window, r.Window >= 0, "0 or more"},
		{"Retransmit", r.Retransmit, r.Retransmit >= 0, "0 or more"},
		{"Slice", r.Slice, r.Slice >= 0, "0 or more"},
		{"Dial", r.Dial, r.Dial <= DialDiscard, "one of the DialFaults"},
		{"DialFirst", r.DialFirst, r.DialFirst >= 0, "0 or more"},
		{"ResetAfter", r.ResetAfter, r.ResetAfter >= 0, "0 or more"},
		{"ResetBytes", r.ResetBytes, r.ResetBytes >= 0, "0 or more"},
		{"CloseBytes", r.CloseBytes, r.CloseBytes >= 0, "0 or more"},
		{"CloseDelay", r.CloseDelay, r.CloseDelay >= 0, "0 or more"},
	} {
		if !x.ok {
			return fmt.Errorf("netem: %s is %v, want %s", x.field, x.value, x.want)
		}
	}
	return nil
}
