package pipenet_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/pipenet"
)

// Two hosts, one of which says hello.
func Example() {
	ctx := context.Background()
	network := pipenet.New("t")
	α, β := network.Host("α"), network.Host("β")

	l, err := α.Listen(ctx, ":80")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if conn, err := l.Accept(ctx); err == nil {
			fmt.Fprintf(conn, "hello from %s to %s", conn.LocalAddr(), conn.RemoteAddr())
			conn.Close()
		}
	}()

	conn, err := β.Dial(ctx, "α:80")
	if err != nil {
		log.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	fmt.Println(string(text), err)
	// Output: hello from α:1 to β:1 <nil>
}

// Both ends write before they read: that needs a buffer, as a TCP socket has one.
func ExampleConfig() {
	ctx := context.Background()
	network := pipenet.Config{Buffer: pipenet.DefaultBuffer}.New("t")
	l, err := network.Host("α").Listen(ctx, ":80")
	if err != nil {
		log.Fatal(err)
	}
	greet := func(conn net.Conn, err error) string {
		if err != nil {
			return err.Error()
		}
		buf := make([]byte, 2)
		if _, err := conn.Write([]byte("hi")); err != nil { // returns at once
			return err.Error()
		}
		if _, err := io.ReadFull(conn, buf); err != nil {
			return err.Error()
		}
		return string(buf)
	}
	server := make(chan string)
	go func() { server <- greet(l.Accept(ctx)) }()
	fmt.Println(greet(network.Host("β").Dial(ctx, "α:80")))
	fmt.Println(<-server)
	// Output:
	// hi
	// hi
}

// A network that is made in a bubble of testing/synctest is in its virtual time: this test takes no time, and
// finds the time-out after exactly one hour.
func Example_synctest() {
	var t *testing.T // of the test that this is a part of

	synctest.Test(t, func(t *testing.T) {
		network := pipenet.New("t")
		defer pipenet.AsVirtNet(network).Close()
		if _, err := network.Host("α").Listen(t.Context(), ":80"); err != nil {
			t.Fatal(err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		_, err := network.Host("β").Dial(ctx, "α:80") // nobody accepts
		if err == nil || time.Since(began) != time.Hour {
			t.Errorf("Dial returned %v after %v", err, time.Since(began))
		}
	})
}
