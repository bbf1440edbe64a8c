package astranet_test

import (
	"context"
	"testing"

	"github.com/virtnet/virtnet/astranet"
)

// A dial that waits for an Accept when the link is lost goes on to another instance.
func TestDialLosesLink(t *testing.T) {
	first, address := listening(t, astranet.Config{})
	if _, err := first.Bind("", "svc"); err != nil { // and never accepts
		t.Fatal(err)
	}
	c := newNode(t, astranet.Config{})
	if err := c.Join("tcp", address); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dialled := make(chan error, 1)
	go func() {
		conn, err := c.DialContext(ctx, "", "svc")
		if err == nil {
			err = conn.Close()
		}
		dialled <- err
	}()
	eventually(t, "the dial waits for an answer", func() bool { return astranet.Asking(c) == 1 })
	second, address := listening(t, astranet.Config{})
	l, err := second.Bind("", "svc")
	if err != nil {
		t.Fatal(err)
	}
	go l.Accept()
	if err := c.Join("tcp", address); err != nil {
		t.Fatal(err)
	}
	astranet.CutLinks(first)
	if err := <-dialled; err != nil {
		t.Errorf("dial: %v, want the other instance", err)
	}
	if n := astranet.Asking(c); n != 0 {
		t.Errorf("%d dials wait for an answer, want none", n)
	}
}
