// Command python counts the words of whoever dials words:1 on a lonet network: client.py, for one, which is in Python.
//
// In examples/, in two terminals:
//
//	go run ./python tea
//	PYTHONPATH=../python python3 python/client.py tea "two for tea"
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"

	"github.com/virtnet/virtnet/lonet"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: python NETWORK")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := serve(ctx, os.Args[1]); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

// serve serves until ctx ends.
func serve(ctx context.Context, network string) error {
	sub, err := lonet.Join(ctx, network)
	if err != nil {
		return err
	}
	defer sub.Close()
	host, err := sub.NewHost(ctx, "words")
	if err != nil {
		return err
	}
	l, err := host.Listen(ctx, ":1")
	if err != nil {
		return err
	}
	fmt.Printf("words are counted at %s on %s\n", l.Addr(), sub.Network())
	for {
		conn, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		go answer(conn)
	}
}

// answer reads until the other end has ended its side, and answers then.
func answer(conn net.Conn) {
	defer conn.Close()
	text, err := io.ReadAll(conn)
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Fprintf(conn, "%s, that is %d words\n", conn.RemoteAddr(), len(strings.Fields(string(text))))
}
