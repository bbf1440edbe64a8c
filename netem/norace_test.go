//go:build !race

package netem_test

const raceDetector = false
