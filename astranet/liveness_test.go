package astranet_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/netem"
)

// A link whose other end is silent is given up within 3 s, on either end, and one that is closed at once.
func TestLiveness(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"silent", "silent one way", "reset"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 1, netem.Rules{Latency: netem.Constant(20 * time.Millisecond)})
				s, c := w.node("s", astranet.Config{}), w.node("c", astranet.Config{})
				if err := c.Join("pipet", "s:1"); err != nil {
					t.Fatal(err)
				}
				for range 10 { // whatever the time since the last keep-alive
					time.Sleep(10*time.Second + 130*time.Millisecond)
					if len(s.Routes())+len(c.Routes()) != 2 {
						t.Fatalf("routes %v and %v before anything is wrong", s.Routes(), c.Routes())
					}
					begin, most := time.Now(), 3*time.Second
					switch how {
					case "silent":
						defer w.em.Isolate("s").Heal()
					case "silent one way":
						w.em.Link("s", "c").Cut()
						most *= 2 // the other end goes when this one does
					case "reset":
						w.em.Link("s", "c").Cut() // so that they are not linked again yet
						w.em.Link("c", "s").Reset()
						most = 0
					}
					for len(s.Routes())+len(c.Routes()) > 0 {
						time.Sleep(10 * time.Millisecond)
						if d := time.Since(begin); d > most+20*time.Millisecond {
							t.Fatalf("after %v: routes %v and %v", d, s.Routes(), c.Routes())
						}
					}
					w.em.Heal()
					w.em.Link("s", "c").Mend()
				}
			})
		})
	}
}

// A slow link that is full in both directions for a minute is not taken for dead, and a dial over it gets through.
func TestSaturated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const megabit = 1e6 / 8
		w := newWorld(t, 1, netem.Rules{Latency: netem.Constant(50 * time.Millisecond), Bandwidth: megabit})
		s, c := w.node("s", astranet.Config{}), w.node("c", astranet.Config{})
		bindEcho(t, s)
		if err := c.Join("pipet", "s:1"); err != nil {
			t.Fatal(err)
		}
		number := inUse(c, s)[0].Number
		conn, err := c.Dial("", "echo")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for b := make([]byte, 64<<10); ; {
				if _, err := conn.Write(b); err != nil {
					return
				}
			}
		}()
		begin, total := time.Now(), 0
		var slowest time.Duration
		dials := time.NewTicker(5 * time.Second)
		defer dials.Stop()
		for b := make([]byte, 64<<10); time.Since(begin) < time.Minute; {
			k, err := conn.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			total += k
			select {
			case <-dials.C:
				go func() {
					at := time.Now()
					other, err := c.DialTimeout("", "echo", time.Minute)
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = other.Write([]byte("x"))
					_, _ = io.ReadFull(other, make([]byte, 1))
					slowest = max(slowest, time.Since(at))
					other.Close()
				}()
			default:
			}
		}
		if l := inUse(c, s); len(l) != 1 || l[0].Number != number {
			t.Errorf("links %+v, want the first one", l)
		}
		if least := int(0.6 * 60 * megabit); total < least {
			t.Errorf("%d bytes came back in a minute, want %d", total, least)
		}
		t.Logf("%d bytes came back in a minute; a dial and an answer took %v at most", total, slowest)
		conn.Close()
		time.Sleep(10 * time.Second)
	})
}
