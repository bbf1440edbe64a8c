package virtnettest_test

import (
	"testing"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/virtnettest"
)

// How to run the suite, here on a network in memory. In a test file it is
//
//	func TestConformance(t *testing.T) { ... }
func ExampleTestNetwork() {
	var t *testing.T // of the test

	virtnettest.TestNetwork(t, virtnettest.Network{
		// All hosts of a pipenet are on one sub-network. Where there can be more, n of them are wanted.
		New: func(t testing.TB, n int) []*virtnet.SubNetwork {
			return []*virtnet.SubNetwork{pipenet.AsVirtNet(pipenet.New("test"))}
		},
		Bubble: true, // it waits for channels only
	})
}

// A test of one's own, that is given its hosts and a connection between them.
func ExampleConnect() {
	var t *testing.T // of the test

	virtnettest.NoLeaks(t)
	network := pipenet.AsVirtNet(pipenet.New("test"))
	hosts := virtnettest.NewHosts(t, network, "α", "β")
	c, d := virtnettest.Connect(t, hosts[0], hosts[1])
	go c.Write([]byte("ping"))
	buf := make([]byte, 4)
	if n, err := d.Read(buf); err != nil || string(buf[:n]) != "ping" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
}
