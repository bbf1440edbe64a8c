//go:build race

package astranet_test

// raceDetector tells whether the race detector watches: it makes everything larger and slower.
const raceDetector = true
