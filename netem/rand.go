package netem

import "math"

// Every random number is a function of the seed and of what it is for: the link, the direction, the connection's
// number on it and the segment's number in that. So it does not matter which goroutine asks first.

// A stream is where the numbers of one thing come from.
type stream uint64

// purposes of numbers that have the same position.
const (
	forLatency = 1 + iota
	forLoss
	forDial
)

// newStream returns the stream of a link.
func newStream(seed uint64, from, to string) stream {
	s := mix(seed ^ 0x9e3779b97f4a7c15)
	for _, name := range [2]string{from, to} {
		for i := range len(name) {
			s = mix(s ^ uint64(name[i]))
		}
		s = mix(s ^ 0x100) // no byte: it ends the name
	}
	return stream(s)
}

// sub returns the stream of a part.
func (s stream) sub(n uint64) stream { return stream(mix(uint64(s) ^ mix(n+1))) }

// uniform returns number n of the stream, above 0 and below 1.
func (s stream) uniform(n uint64) float64 {
	return (float64(mix(uint64(s)^mix(n+1))>>11) + 0.5) / (1 << 53)
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood 2014), which spreads each bit over all.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// gauss returns the value of the standard normal distribution at u, and normal is its inverse.
func gauss(u float64) float64  { return math.Sqrt2 * math.Erfinv(2*u-1) }
func normal(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }
