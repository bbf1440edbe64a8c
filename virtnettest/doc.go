// Package virtnettest checks that a network is one: that an [virtnet.Engine] and its [virtnet.Registry] give,
// under the core, the network that users of package virtnet rely on. It has one subtest per demand, and a
// subtest that fails says what it demands and why.
//
// Whoever makes a network calls, from a test of theirs,
//
//	func TestConformance(t *testing.T) {
//		virtnettest.TestNetwork(t, virtnettest.Network{
//			New: func(t testing.TB, n int) []*virtnet.SubNetwork {
//				// make a fresh network, and n sub-networks of it
//			},
//		})
//	}
//
// and, for a registry alone, [TestRegistry].
//
// For tests on any network there are [NewHosts], [Connect] and [NoLeaks].
//
// # Limits
//
// The suites compare the goroutines before and after a subtest, so nothing else may run at the same time: a
// test that calls them must not be parallel to others. What is waited for has a bound of ten seconds. What must
// not happen is given ten milliseconds, or, on a network that can run in a bubble of testing/synctest, all the
// time in the world at no cost.
package virtnettest
