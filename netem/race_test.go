//go:build race

package netem_test

// With the race detector everything takes many times as long.
const raceDetector = true
