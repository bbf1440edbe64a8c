//go:build !race

package astranet_test

const raceDetector = false
