package netem_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/netem"
)

func TestDialFaults(t *testing.T) {
	for _, x := range []struct {
		name  string
		there netem.Rules
		errs  []error // of one dial after the other
		took  time.Duration
	}{
		{"refused", netem.Rules{Dial: netem.DialRefuse}, []error{virtnet.ErrConnRefused, virtnet.ErrConnRefused}, 0},
		{"refused after a latency", netem.Rules{Dial: netem.DialRefuse, Latency: netem.Constant(ms)}, []error{virtnet.ErrConnRefused}, ms},
		{"discarded", netem.Rules{Dial: netem.DialDiscard}, []error{context.DeadlineExceeded}, 24 * time.Hour},
		{"the first two", netem.Rules{Dial: netem.DialRefuse, DialFirst: 2}, []error{virtnet.ErrConnRefused, virtnet.ErrConnRefused, nil, nil}, 0},
		{"lost", netem.Rules{Loss: 1, Retransmit: ms}, []error{nil}, 1023 * ms},
	} {
		t.Run(x.name, func(t *testing.T) {
			run(t, 0, func(w *world) {
				addr := w.serve("β")
				w.set("α", "β", x.there)
				for i, want := range x.errs {
					_, took, err := w.dial("α", addr)
					if (err == nil) != (want == nil) || !errors.Is(err, want) {
						t.Errorf("dial %d: %v, want %v", i, err, want)
					}
					w.took("dial", took, x.took)
				}
				// Of β's dials nothing happens but to their answers.
				addr = w.serve("α")
				if _, _, err := w.dial("β", addr); err != nil {
					t.Errorf("the other way: %v", err)
				}
				w.set("α", "β", x.there) // counts anew
				if _, _, err := w.dial("α", w.serve("β")); (err == nil) != (x.errs[0] == nil) {
					t.Errorf("dial after the rules were set again: %v, want %v", err, x.errs[0])
				}
				w.set("α", "β", netem.Rules{})
				if _, _, err := w.dial("α", w.serve("β")); err != nil {
					t.Errorf("dial after the rules were taken back: %v", err)
				}
			})
		})
	}
}

// A dial that fails takes as long for that as one that succeeds.
func TestRefusalTakesTheWayBack(t *testing.T) {
	run(t, 0, func(w *world) {
		w.net.Host("β")
		w.set("α", "β", netem.Rules{Latency: netem.Constant(3 * ms)})
		w.set("β", "α", netem.Rules{Latency: netem.Constant(4 * ms)})
		_, took, err := w.dial("α", "β:80")
		if !errors.Is(err, virtnet.ErrConnRefused) {
			t.Errorf("dial: %v", err)
		}
		w.took("the refusal", took, 7*ms)
	})
}

func TestResetAfter(t *testing.T) {
	run(t, 0, func(w *world) {
		old, oldPeer := w.pair("α", "β")
		w.set("α", "β", netem.Rules{ResetAfter: time.Minute})
		time.Sleep(time.Second)
		c, d := w.pair("α", "β")
		w.took("the old connection", w.ends(oldPeer, syscall.ECONNRESET), 59*time.Second)
		w.ends(old, syscall.ECONNRESET)
		w.took("the new one", w.ends(c, syscall.ECONNRESET), time.Second)
		w.took("its other end", w.ends(d, syscall.ECONNRESET), 0)
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("Write: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, virtnet.ErrSockDown) {
			t.Errorf("Read after Close: %v", err)
		}
		w.set("α", "β", netem.Rules{})
		w.state("α", "β", netem.State{})
		c, _ = w.pair("α", "β")
		w.nothing(c)
	})
}

func TestByteLimits(t *testing.T) {
	for _, x := range []struct {
		name             string
		rules            netem.Rules
		own, peer, write error
	}{
		{"ResetBytes", netem.Rules{ResetBytes: 7}, syscall.ECONNRESET, syscall.ECONNRESET, syscall.ECONNRESET},
		{"CloseBytes", netem.Rules{CloseBytes: 7}, io.EOF, io.EOF, io.ErrClosedPipe},
	} {
		t.Run(x.name, func(t *testing.T) {
			run(t, 0, func(w *world) {
				c, d := w.pair("α", "β")
				go c.Write([]byte("does not count"))
				w.arrives(d, "does not count")
				w.set("α", "β", x.rules)
				go d.Write([]byte("nor does the way back"))
				w.arrives(c, "nor does the way back")
				w.write(c, "0123")
				w.write(c, "456789")
				w.arrives(d, "0123456")
				w.ends(d, x.peer)
				w.ends(c, x.own)
				if _, err := c.Write([]byte("x")); !errors.Is(err, x.write) {
					t.Errorf("Write: %v, want %v", err, x.write)
				}
				if err := c.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		})
	}
}

func TestCloseDelay(t *testing.T) {
	run(t, 0, func(w *world) {
		w.set("α", "β", netem.Rules{CloseDelay: time.Minute})
		c, d := w.pair("α", "β")
		w.write(c, "data")
		began := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		w.took("Close", time.Since(began), 0)
		w.took("data", w.arrives(d, "data"), 0)
		w.took("the end", w.ends(d, io.EOF), time.Minute)
	})
}

// Reset ends both ends of what is there, and nothing else.
func TestReset(t *testing.T) {
	run(t, 0, func(w *world) {
		c, d := w.pair("α", "β")
		e, f := w.pair("γ", "β")
		w.em.Link("α", "β").Hold()
		w.write(c, "lost")
		w.em.Link("α", "β").Reset()
		w.em.Link("α", "β").Release()
		w.ends(c, syscall.ECONNRESET)
		w.ends(d, syscall.ECONNRESET)
		go e.Write([]byte("alive"))
		w.arrives(f, "alive")
		c, d = w.pair("α", "β")
		go c.Write([]byte("new"))
		w.arrives(d, "new")
	})
}

// A connection that is half open looks alive, and nothing arrives, also when everything else does again.
func TestSever(t *testing.T) {
	run(t, -1, func(w *world) {
		c, d := w.pair("α", "β")
		w.em.Link("α", "β").Sever()
		w.write(c, "into the void")
		w.nothing(d)
		w.write(d, "the other way is fine")
		w.arrives(c, "the other way is fine")
		w.em.Link("α", "β").Clear()
		w.em.Heal()
		c.Close()
		w.nothing(d)
		e, f := w.pair("α", "β")
		w.write(e, "new")
		w.arrives(f, "new")
	})
}

func TestCrash(t *testing.T) {
	run(t, -1, func(w *world) {
		c, d := w.pair("α", "β")
		addr := w.serve("β")
		lingers, peer := w.pair("β", "γ")
		w.em.Link("β", "γ").Hold()
		w.write(lingers, "never sent")
		lingers.Close()
		w.em.Isolate("β") // the reset passes
		if err := w.em.Crash(w.net.Host("β")); err != nil {
			t.Error(err)
		}
		w.em.Heal()
		w.took("the reset", w.ends(c, syscall.ECONNRESET), 0)
		w.ends(peer, syscall.ECONNRESET)
		if _, err := d.Read(make([]byte, 1)); !errors.Is(err, virtnet.ErrHostDown) {
			t.Errorf("Read on the host that crashed: %v", err)
		}
		if _, _, err := w.dial("α", addr); !errors.Is(err, virtnet.ErrConnRefused) {
			t.Errorf("dial: %v, want refused, as by a machine on which nothing runs", err)
		}
		w.net.Host("β") // it starts again
		if _, _, err := w.dial("α", addr); !errors.Is(err, virtnet.ErrConnRefused) {
			t.Errorf("dial: %v, want refused", err)
		}
		addr = w.serve("β")
		if _, _, err := w.dial("α", addr); err != nil {
			t.Error(err)
		}
	})
}

func TestVanish(t *testing.T) {
	run(t, -1, func(w *world) {
		c, d := w.pair("α", "β")
		if err := w.em.Vanish(w.net.Host("β")); err != nil {
			t.Error(err)
		}
		w.write(c, "hello?")
		w.nothing(c)
		if _, err := d.Write([]byte("x")); !errors.Is(err, virtnet.ErrHostDown) {
			t.Errorf("Write on the host that has vanished: %v", err)
		}
		c2, d2 := w.pair("α", "β") // it is back
		w.write(c2, "hello!")
		w.arrives(d2, "hello!")
		w.nothing(c)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Faults that are set and taken back at any time leave a healthy connection healthy.
func TestFaultsComeAndGo(t *testing.T) {
	run(t, 0, func(w *world) {
		c, d := w.pair("α", "β")
		const total = 1 << 20
		want := strings.Repeat("0123456789abcdef", total/16)
		go func() {
			for p := []byte(want); len(p) > 0; {
				n := min(len(p), 10_000)
				if _, err := c.Write(p[:n]); err != nil {
					t.Errorf("Write: %v", err)
					return
				}
				p = p[n:]
				time.Sleep(ms)
			}
			c.Close()
		}()
		var chaos sync.WaitGroup
		chaos.Go(func() {
			l := w.em.Link("α", "β")
			for i := range 50 {
				time.Sleep(3 * ms)
				switch i % 5 {
				case 0:
					w.set("α", "β", netem.Rules{Latency: netem.Exponential(5 * ms), Loss: 0.1})
				case 1:
					l.Hold()
				case 2:
					w.set("α", "β", netem.Rules{Bandwidth: 1 << 20, Slice: 777})
				case 3:
					l.Release()
				case 4:
					l.Clear()
				}
			}
		})
		w.arrives(d, want)
		w.ends(d, io.EOF)
		chaos.Wait()
	})
}

// A connection that has failed has nothing to wait for when it is closed, whatever holds the link.
func TestCloseAfterFailure(t *testing.T) {
	run(t, -1, func(w *world) {
		c, _ := w.pair("α", "β")
		w.em.Isolate("α")
		w.write(c, "held")
		if err := w.em.Crash(w.net.Host("β")); err != nil {
			t.Error(err)
		}
		w.ends(c, syscall.ECONNRESET)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		w.state("α", "β", netem.State{Cut: true})
	})
}
