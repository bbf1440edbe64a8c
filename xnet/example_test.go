package xnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/virtnet/virtnet/xnet"
)

// A program that is given its network: a host of a virtual network would do as well.
func Example() {
	ctx := context.Background()
	var n xnet.Networker = xnet.NetPlain("tcp4")
	defer n.Close()

	l, err := n.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		conn, err := l.Accept(ctx)
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "hello")
	}()

	conn, err := n.Dial(ctx, l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	greeting, err := io.ReadAll(conn)
	fmt.Printf("%s %v\n", greeting, err)
	// Output: hello <nil>
}

// Accept can be given a deadline; the listener does not mind.
func ExampleWithCtxL() {
	plain, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	l := xnet.WithCtxL(plain)
	defer l.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err = l.Accept(ctx)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}

// A server that wants a net.Listener ends when the context does.
func ExampleBindCtxL() {
	n := xnet.NetPlain("tcp4")
	defer n.Close()
	l, err := n.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = xnet.BindCtxL(l, ctx).Accept()
	fmt.Println(errors.Is(err, context.Canceled))
	// Output: true
}

// Packages that take a dial function are given that of a Networker.
func ExampleDialContext() {
	n := xnet.NetPlain("tcp4")
	defer n.Close()
	l, err := n.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	dial := xnet.DialContext(n)
	conn, err := dial(context.Background(), "tcp", l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Println(conn.RemoteAddr().String() == l.Addr().String())
	// Output: true
}
