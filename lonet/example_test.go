package lonet_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/virtnet/virtnet/lonet"
)

// Two sub-networks, which would usually be two processes', on one network.
func Example() {
	ctx := context.Background()
	here, err := lonet.Join(ctx, "") // a network that nobody else has
	if err != nil {
		log.Fatal(err)
	}
	defer here.Close()
	α, err := here.NewHost(ctx, "α")
	if err != nil {
		log.Fatal(err)
	}
	l, err := α.Listen(ctx, ":80")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		c, err := l.Accept(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprintf(c, "hello %s, this is %s", c.RemoteAddr(), c.LocalAddr())
		c.Close()
	}()

	network := here.Network()[len("lonet"):] // what Join takes
	there, err := lonet.Join(ctx, network)
	if err != nil {
		log.Fatal(err)
	}
	defer there.Close()
	β, err := there.NewHost(ctx, "β")
	if err != nil {
		log.Fatal(err)
	}
	c, err := β.Dial(ctx, "α:80")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	text, err := io.ReadAll(c)
	fmt.Println(string(text), err)
	// Output:
	// hello β:1, this is α:1 <nil>
}
