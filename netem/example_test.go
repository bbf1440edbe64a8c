package netem_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

// Latency, and a partition that heals, in virtual time: this test takes no time, and the server is cut off for an hour.
func Example_synctest() {
	// func TestPartition(t *testing.T)
	var t *testing.T
	synctest.Test(t, func(t *testing.T) {
		em := netem.New(1)
		net := pipenet.Config{Emulator: em, Buffer: -1}.New("t")
		defer net.Close()
		_ = em.SetAll(netem.Rules{Latency: netem.Exponential(20 * time.Millisecond), Loss: 0.01})

		// Start the servers and the clients on net.Host("server"), net.Host("client"), ...

		p := em.Isolate("server")
		time.Sleep(time.Hour)
		p.Heal()

		// Whatever was sent to the server meanwhile arrives now.
	})
}

// The first two dials are refused, and then all is well.
func ExampleRules() {
	ctx := context.Background()
	em := netem.New(1)
	net := pipenet.Config{Emulator: em}.New("t")
	defer net.Close()
	_ = em.Link("α", "β").Set(netem.Rules{Dial: netem.DialRefuse, DialFirst: 2})

	l, _ := net.Host("β").Listen(ctx, ":80")
	go l.Accept(ctx)
	for range 3 {
		_, err := net.Host("α").Dial(ctx, "β:80")
		fmt.Println(err)
	}
	// Output:
	// dial pipet α:1->β:80: connection refused
	// dial pipet α:1->β:80: connection refused
	// <nil>
}

// Messages are delivered one at a time.
func ExampleLink_Step() {
	ctx := context.Background()
	em := netem.New(1)
	net := pipenet.Config{Emulator: em}.New("t")
	defer net.Close()
	l, _ := net.Host("β").Listen(ctx, ":80")
	go func() {
		c, _ := net.Host("α").Dial(ctx, "β:80")
		em.Link("α", "β").Hold()
		c.Write([]byte("one"))
		c.Write([]byte("two"))
		em.Link("α", "β").Step()
	}()
	d, _ := l.Accept(ctx)
	buf := make([]byte, 100)
	n, _ := d.Read(buf)
	fmt.Printf("%s; %+v\n", buf[:n], em.Link("α", "β").State().Held)
	// Output: one; true
}
