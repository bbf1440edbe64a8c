//go:build race

package mux_test

// With the race detector sync.Pool forgets at random, so that allocations can't be counted.
const raceDetector = true
