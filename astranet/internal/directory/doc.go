// Package directory is what every node of a mesh knows of every other: links, addresses, services, flags.
//
// Each node says all of itself in one entry, which has a version and which it signs: a head, that is signed, and pages of links and
// services, that the head vouches for by their hashes. So one change of ten thousand services is one signature and one page. Two
// neighbours each have a Feed for the other: they compare what they have (a digest of versions), each sends what the other lacks, and
// from then on what is new. Everything is checked before it is kept or passed on, so a node speaks for itself only.
//
// A Directory does no I/O, has no goroutine, and knows the time only from Tick: a node drives it with links and timers, a test with a
// model of them. Its methods, and those of Feed, are safe for concurrent use, with the exception that the comments name.
//
// The protocol is docs/astranet.md, section "Directory".
package directory
