package mux_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// A stream opened to be written does not show before, if nothing else is sent, and then comes with its first bytes, which can be looked at and are read
// all the same.
func TestOpenToWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New(pipe.DefaultSize)
		quiet := &mux.Config{KeepAlive: -1}
		client, server := sessionsOn(t, a, b, quiet, quiet)
		synctest.Wait()
		ctx := t.Context()
		st, err := client.OpenToWrite(ctx)
		if err != nil {
			t.Fatal(err)
		}
		soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if _, err := server.Accept(soon); err == nil {
			t.Fatal("a stream was accepted that nothing was written to")
		}
		if _, err := st.Write([]byte("request")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		got, err := server.Accept(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var p [100]byte
		for range 2 {
			if n := got.Peek(p[:]); string(p[:n]) != "request" {
				t.Errorf("peeked %q, want %q", p[:n], "request")
			}
		}
		if n := got.Peek(p[:3]); string(p[:n]) != "req" {
			t.Errorf("peeked %q, want %q", p[:n], "req")
		}
		if n, err := got.Read(p[:4]); string(p[:n]) != "requ" || err != nil {
			t.Errorf("read %q and %v, want %q", p[:n], err, "requ")
		}
		if n := got.Peek(p[:]); string(p[:n]) != "est" {
			t.Errorf("peeked %q, want %q", p[:n], "est")
		}
		if n, err := io.ReadFull(got, p[:3]); string(p[:n]) != "est" || err != nil {
			t.Errorf("read %q and %v, want %q", p[:n], err, "est")
		}
		if n := got.Peek(p[:]); n != 0 {
			t.Errorf("peeked %q where nothing is", p[:n])
		}
		st.Close()
		got.Close()
	})
}

// The other end hears of a stream opened to be written when it ends, and when its first Write has to wait.
func TestOpenToWriteWaits(t *testing.T) {
	for _, k := range []struct {
		name string
		then func(st *mux.Stream)
	}{
		{"closed", func(st *mux.Stream) { st.Close() }},
		{"half closed", func(st *mux.Stream) { _ = st.CloseWrite() }},
		{"more than may be sent", func(st *mux.Stream) { _, _ = st.Write(make([]byte, 1<<20)) }},
	} {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe.New(pipe.DefaultSize)
				client, server := sessionsOn(t, a, b, nil, nil)
				st, err := client.OpenToWrite(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				done := make(chan struct{})
				go func() { k.then(st); close(done) }()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				got, err := server.Accept(ctx)
				if err != nil {
					t.Fatal(err)
				}
				got.Close()
				<-done
				st.Close()
			})
		})
	}
}

// A first Write that waits for the session's credit lets the other end know of its stream.
func TestOpenToWriteWithoutCredit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New(pipe.DefaultSize)
		small := &mux.Config{KeepAlive: -1, Limits: mux.Limits{SessionWindow: 256 << 10}}
		client, server := sessionsOn(t, a, b, &mux.Config{KeepAlive: -1}, small)
		ctx := t.Context()
		var all []*mux.Stream
		for range 64 {
			st, other := streamPair(t, client, server)
			all = append(all, st, other)
			go func() { _, _ = st.Write(make([]byte, 1<<20)) }()
		}
		synctest.Wait()
		st, err := client.OpenToWrite(ctx)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = st.Write([]byte("late")) }()
		soon, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		got, err := server.Accept(soon)
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range append(all, st, got) {
			st.Close()
		}
	})
}
