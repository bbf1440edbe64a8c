//go:build race

package python

// raceEnabled is whether the tests are built with -race.
const raceEnabled = true
