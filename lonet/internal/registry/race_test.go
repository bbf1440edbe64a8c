//go:build race

package registry

// With the race detector SQLite is twenty times slower: fewer rounds do.
const rounds = 10
