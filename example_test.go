package virtnet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"syscall"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/pipenet"
)

// An error of a dial says who dialled whom and why it failed; both our causes and the standard ones match.
func ExampleHost_Dial() {
	network := pipenet.New("t")
	network.Host("β")
	_, err := network.Host("α").Dial(context.Background(), "β:80")
	fmt.Println(err)
	fmt.Println(errors.Is(err, virtnet.ErrConnRefused), errors.Is(err, syscall.ECONNREFUSED))
	// Output:
	// dial pipet α:1->β:80: connection refused
	// true true
}

// Closing a host interrupts what is blocked on it.
func ExampleHost_Close() {
	α := pipenet.New("t").Host("α")
	l, err := α.Listen(context.Background(), ":80")
	if err != nil {
		log.Fatal(err)
	}
	go α.Close()
	_, err = l.Accept(context.Background())
	fmt.Println(err)
	fmt.Println(errors.Is(err, virtnet.ErrHostDown), errors.Is(err, net.ErrClosed))
	// Output:
	// accept pipet α:80: host is down
	// true true
}
