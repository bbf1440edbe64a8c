package mux

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"
)

// A deadline expires when it is due, and neither before nor after it was moved.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var d deadline
		wakes := 0
		set := func(at time.Time) {
			mu.Lock()
			defer mu.Unlock()
			d.set(at, &mu, func() { wakes++ })
		}
		want := func(expired bool, times int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if d.expired != expired || wakes != times {
				t.Fatalf("expired %v after %d wakes, want %v after %d", d.expired, wakes, expired, times)
			}
		}
		in := func(after time.Duration) time.Time { return time.Now().Add(after) }
		want(false, 0)
		set(in(time.Second))
		set(in(time.Hour))
		time.Sleep(time.Minute)
		want(false, 0)
		set(in(time.Second))
		time.Sleep(time.Second - 1)
		want(false, 0)
		time.Sleep(time.Nanosecond)
		want(true, 1)
		set(time.Time{})
		want(false, 1)
		time.Sleep(24 * time.Hour)
		want(false, 1)
		set(in(0))
		want(true, 2)
		set(in(-time.Hour))
		want(true, 3)
		set(in(time.Hour))
		want(false, 3)
		d.stop()
		time.Sleep(2 * time.Hour)
		want(false, 3)
	})
}

// A deadline that lies far ahead does not keep a stream that is closed.
func TestDeadlineKeepsNothing(t *testing.T) {
	a, b := net.Pipe()
	client, err := Client(a, nil)
	if err != nil {
		t.Fatal(err)
	}
	server, err := Server(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	defer server.Close()
	st, err := client.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kept := weak.Make(st)
	if err := st.SetDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	st.Reset(0)
	st.Close()
	for name, err := range map[string]error{
		"SetDeadline":      st.SetDeadline(time.Now().Add(time.Hour)),
		"SetReadDeadline":  st.SetReadDeadline(time.Now().Add(time.Hour)),
		"SetWriteDeadline": st.SetWriteDeadline(time.Now().Add(time.Hour)),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: got %v, want net.ErrClosed", name, err)
		}
	}
	st = nil
	for end := time.Now().Add(5 * time.Second); kept.Value() != nil; {
		if time.Now().After(end) {
			t.Fatal("the stream is kept")
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}
