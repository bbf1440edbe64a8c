// Package bench is for tests that need the libraries which mux is compared with. What measures is the command in
// muxbench.
package bench
