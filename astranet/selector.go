package astranet

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// A Selector chooses among the instances of a service. The pool is never empty, and in order of host and port.
type Selector interface {
	Select(pool []ServiceId) (index int)
}

// RandomSelector takes any, each as likely as another.
type RandomSelector struct{}

// Select returns the index of the choice.
func (RandomSelector) Select(pool []ServiceId) int { return rand.IntN(len(pool)) }

// HashSelector takes the same instance for the same key while it is there, on every node alike: of all instances the one whose
// hash with the key is the highest (rendezvous hashing: Thaler and Ravishankar, 1998). When an instance goes, only its keys
// get another; when one comes, it takes its share from all.
type HashSelector struct{ Key string }

// Select returns the index of the choice.
func (h HashSelector) Select(pool []ServiceId) int {
	key := fnv1a(h.Key)
	best, most := 0, uint64(0)
	for i, s := range pool {
		if w := mix(mix(key^s.Host) ^ uint64(s.Port)); i == 0 || w > most {
			best, most = i, w
		}
	}
	return best
}

// fnv1a is the 64-bit hash FNV-1a (Fowler, Noll, Vo), without the garbage that hash/fnv makes.
func fnv1a(s string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return h
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood 2014), which spreads each bit over all.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const (
	registryScheme = "registry://"
	portToRegistry = "vport2registry"
)

// selectorOf returns the selector that the network argument of a Dial means.
func selectorOf(network string, port uint32) Selector {
	switch key, ok := strings.CutPrefix(network, registryScheme); {
	case ok:
		return HashSelector{key}
	case network == portToRegistry && port != 0:
		return HashSelector{strconv.FormatUint(uint64(port), 10)}
	}
	return RandomSelector{}
}
