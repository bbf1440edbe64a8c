package astranet_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/virtnet/virtnet/astranet"
)

// patience is how long a test waits for what should come.
const patience = 20 * time.Second

func newNode(t testing.TB, c astranet.Config) astranet.AstraNet {
	t.Helper()
	n := c.New()
	t.Cleanup(func() { n.Close() })
	return n
}

// listening returns a node that takes links at a loopback address.
func listening(t testing.TB, c astranet.Config) (n astranet.AstraNet, address string) {
	t.Helper()
	n = newNode(t, c)
	if err := n.ListenAndServe("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	return n, n.Addrs()[0].String()
}

// linked returns two nodes with a link.
func linked(t testing.TB, server, client astranet.Config) (s, c astranet.AstraNet) {
	t.Helper()
	s, address := listening(t, server)
	c = newNode(t, client)
	if err := c.Join("tcp", address); err != nil {
		t.Fatal(err)
	}
	return s, c
}

// pair returns the two ends of a connection between nodes.
func pair(t testing.TB, s, c astranet.AstraNet, service string) (client, server net.Conn) {
	t.Helper()
	l, err := s.Bind("", service)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- conn
	}()
	client, err = c.DialContext(ctx, "", service)
	if err != nil {
		t.Fatal(err)
	}
	return client, <-accepted
}
