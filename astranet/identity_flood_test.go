package astranet_test

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virtnet/virtnet/astranet"
)

// Two thousand strangers do TLS's handshake with a node at once, again and again, with a certificate of another authority, without one, or
// up to the first flight only. Who has a good one is linked within its time-out meanwhile, and what the strangers
// cost is bounded.
func TestHandshakeFlood(t *testing.T) {
	mesh, other := namedCA(t, "mesh"), namedCA(t, "other")
	const most, crowd = 256, 2000
	s := newNode(t, astranet.Config{Credentials: enrol(t, mesh, "s", 0).creds, HalfOpen: most})
	if err := s.ListenAndServe("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	bindEcho(t, s)
	addr := s.Addrs()[0].String()
	stranger := enrol(t, other, "stranger", 0).creds.Client()
	stranger.VerifyConnection = nil
	bare := &tls.Config{InsecureSkipVerify: true, NextProtos: stranger.NextProtos}

	stop := make(chan struct{})
	var crew sync.WaitGroup
	var done, half atomic.Int64
	const atOnce = 40 // that shake hands; the others wait
	for i := range atOnce {
		crew.Go(func() {
			var open []net.Conn
			defer func() {
				for _, c := range open {
					c.Close()
				}
			}()
			for j := i; ; j++ {
				select {
				case <-stop:
					return
				default:
				}
				c, err := net.Dial("tcp", addr)
				if err != nil {
					continue
				}
				if open = append(open, c); len(open) > crowd/atOnce {
					open[0].Close()
					open = open[1:]
				}
				_ = c.SetDeadline(time.Now().Add(time.Second))
				switch j % 3 {
				case 0:
					_ = tls.Client(c, stranger).Handshake()
				case 1:
					_ = tls.Client(c, bare).Handshake()
				case 2: // it says hello, and then nothing
					_ = tls.Client(firstFlight{c}, bare).Handshake()
				}
				done.Add(1)
				half.Store(max(half.Load(), int64(astranet.HalfOpenNow(s))))
			}
		})
	}
	end := sync.OnceFunc(func() {
		close(stop)
		crew.Wait()
	})
	defer end()
	eventually(t, "a flood", func() bool { return done.Load() > 200 })
	for range 3 {
		c := newNode(t, astranet.Config{Credentials: enrol(t, mesh, "c", 0).creds})
		begin := time.Now()
		if err := c.Join("tcp", addr); err != nil {
			t.Logf("the first try: %v", err)
		}
		conn, err := c.DialTimeout("", "echo", patience)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		t.Logf("linked and dialled in %v", time.Since(begin))
		c.Close()
	}
	end()
	t.Logf("%d handshakes of strangers, %d half open at most", done.Load(), half.Load())
	if n := half.Load(); n > most {
		t.Errorf("%d were half open, want %d at most", n, most)
	}
	eventually(t, "nothing half open", func() bool { return astranet.HalfOpenNow(s) == 0 })
	if n := astranet.Peers(s); n > 1 {
		t.Errorf("%d others are kept in mind", n)
	}
}

// firstFlight is a connection that ends for its owner when something is to be read.
type firstFlight struct{ net.Conn }

func (firstFlight) Read([]byte) (int, error) { return 0, io.EOF }
