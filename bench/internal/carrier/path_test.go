package carrier

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestLink checks when what enters a link leaves its bottleneck: 1000 bytes take a second here.
func TestLink(t *testing.T) {
	type entry struct {
		at, leaves time.Duration
		n          int
	}
	for _, test := range []struct {
		name    string
		entries []entry
	}{
		{"one after the other", []entry{
			{at: 0, n: 500, leaves: 500*time.Millisecond - slack},
			{at: time.Second, n: 500, leaves: 1500*time.Millisecond - slack},
		}},
		{"at once, one waits for the other", []entry{
			{at: 0, n: 500, leaves: 500*time.Millisecond - slack},
			{at: 0, n: 500, leaves: time.Second - slack},
			{at: 100 * time.Millisecond, n: 100, leaves: 1100*time.Millisecond - slack},
		}},
		{"a little late makes no difference", []entry{
			{at: 0, n: 1000, leaves: time.Second - slack},
			{at: time.Second, n: 1000, leaves: 2*time.Second - slack},
			{at: 2*time.Second - slack/2, n: 1000, leaves: 3*time.Second - slack},
		}},
		{"nothing leaves before it has come", []entry{
			{at: 0, n: 1, leaves: 0},
			{at: time.Second, n: 2, leaves: time.Second},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := link{shape: Shape{Rate: 1000}}
			start := time.Now()
			for i, e := range test.entries {
				if got := l.enter(start.Add(e.at), e.n).Sub(start); got != e.leaves {
					t.Errorf("entry %d: leaves after %v, want %v", i, got, e.leaves)
				}
			}
		})
	}
}

// shaped returns a connection over a path, which ends with the test.
func shaped(t *testing.T, s Shape) (client, server net.Conn, p Carrier) {
	t.Helper()
	far, err := listenTCP()
	if err != nil {
		t.Fatal(err)
	}
	if p, err = newPath(far, s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if client, server, err = Pair(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	deadline(client, server)
	return client, server, p
}

// TestPathDelays checks that a round trip takes the delay of both directions.
func TestPathDelays(t *testing.T) {
	const delay = 20 * time.Millisecond
	client, server, _ := shaped(t, Shape{Rate: 1e9, Delay: delay})
	go io.Copy(server, server)
	for range 3 {
		start := time.Now()
		if _, err := client.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 2*delay {
			t.Errorf("a round trip took %v, want %v at least", took, 2*delay)
		}
	}
}

// TestPathLimits checks that a path is no faster than its rate.
func TestPathLimits(t *testing.T) {
	const rate, size = 10e6, 1 << 20
	client, server, _ := shaped(t, Shape{Rate: rate})
	go client.Write(make([]byte, size))
	start := time.Now()
	if _, err := io.ReadFull(server, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	least := time.Duration(float64(size)/rate*float64(time.Second)) - slack
	if took := time.Since(start); took < least {
		t.Errorf("%d bytes took %v, want %v at least", size, took, least)
	}
}

// TestPathEnds checks that Close ends what is under way, though nobody reads it.
func TestPathEnds(t *testing.T) {
	client, server, p := shaped(t, Shape{Rate: 1e9, Delay: time.Millisecond})
	written := make(chan error, 1)
	go func() {
		for {
			if _, err := client.Write(make([]byte, parcel)); err != nil {
				written <- err
				return
			}
		}
	}()
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-written; err == nil {
		t.Error("write over a closed path: no error")
	}
}
