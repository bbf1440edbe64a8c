// Package virtnettest checks that a network is one: that a [virtnet.Engine] and its [virtnet.Registry] give,
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
// # What an engine has to do
//
// The comments of [virtnet.Engine] and [virtnet.Notifier] say it; this is what the suite most often finds missing.
// The carrier, which is the net.Conn that VNetDial returns and that VNetAccept is given, is used by the core as it is:
//
//   - A Write of no bytes returns at once, whether or not somebody reads. (That of net.Pipe waits for a reader.)
//   - Close wakes every Read and Write in progress, and the other end reads io.EOF once it has read what was written
//     before. Reads, Writes and Close may run at the same time.
//   - SetDeadline and its like act at once, also on a Read or Write in progress, which fails with
//     os.ErrDeadlineExceeded and has lost nothing: without the deadline the connection goes on.
//   - CloseWrite, ReadFrom and WriteTo are optional. Clauses about half close are skipped without.
//
// When VNetAccept fails in one process, VNetDial fails in another, and the cause must be of the dialler's view. A
// refusal is virtnet.ErrConnRefused there, and so is virtnet.ErrNetDown of the accepting side, or any other that errors.Is
// finds to be net.ErrClosed: it is not the dialler's own network that is down. A host that is not there is
// virtnet.ErrNoHost or virtnet.ErrConnRefused. And a dial that is given up has to end the context of its VNetAccept.
//
// # Limits
//
// The suites compare the goroutines before and after a subtest, so nothing else may run at the same time: a
// test that calls them must not be parallel to others. What is waited for has a bound of ten seconds. What must
// not happen is given ten milliseconds, or, on a network that can run in a bubble of testing/synctest, all the
// time in the world at no cost. Ten seconds in a bubble are virtual time, which passes when everything in the bubble waits:
// a failure after that is a wait without an end, not a slow machine.
package virtnettest
