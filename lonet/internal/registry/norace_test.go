//go:build !race

package registry

// rounds is how often tests with many processes do what they do.
const rounds = 50
