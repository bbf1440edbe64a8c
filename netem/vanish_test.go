package netem_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

// What a host that has vanished leaves goes when the other ends go.
func TestVanishLeavesNothing(t *testing.T) {
	for _, x := range []struct {
		name string
		end  func(w *world, c net.Conn) // of the other end
		late bool                       // it ends after the host has vanished
	}{
		{"closed", func(w *world, c net.Conn) { c.Close() }, true},
		{"closed before", func(w *world, c net.Conn) { c.Close() }, false},
		{"written and closed", func(w *world, c net.Conn) { w.write(c, "hello?"); c.Close() }, true},
		{"half closed", func(w *world, c net.Conn) {
			if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				w.Error(err)
			}
			w.nothing(c)
			c.Close()
		}, true},
		{"reset", func(w *world, c net.Conn) { w.em.Link("α", "β").Reset(); w.ends(c, syscall.ECONNRESET) }, true},
		{"reset from the other side", func(w *world, c net.Conn) {
			w.em.Link("β", "α").Reset()
			w.ends(c, syscall.ECONNRESET)
			_, _ = c.Write([]byte("x"))
			time.Sleep(time.Second)
			if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
				w.Errorf("Write: %v", err)
			}
			c.Close()
		}, true},
		{"crashed", func(w *world, c net.Conn) { _ = w.em.Crash(w.net.Host("α")) }, true},
		{"vanished", func(w *world, c net.Conn) { _ = w.em.Vanish(w.net.Host("α")) }, true},
	} {
		for _, rules := range []netem.Rules{{}, {Latency: netem.Constant(ms)}} {
			for _, dials := range []bool{false, true} { // does the host that vanishes?
				t.Run(x.name, func(t *testing.T) {
					run(t, 0, func(w *world) {
						if rules != (netem.Rules{}) {
							w.set("α", "β", rules)
							w.set("β", "α", rules)
						}
						var c net.Conn
						if dials {
							_, c = w.pair("β", "α")
						} else {
							c, _ = w.pair("α", "β")
						}
						if !x.late {
							x.end(w, c)
						}
						if err := w.em.Vanish(w.net.Host("β")); err != nil {
							t.Error(err)
						}
						if x.late {
							w.nothing(c)
							x.end(w, c)
						}
						time.Sleep(time.Second)
						w.state("α", "β", netem.State{})
						w.state("β", "α", netem.State{})
					})
				})
			}
		}
	}
}

// A host that is back does not know the connections it had: who sends on one of them gets a reset, after the latencies
// of both ways. Who sends nothing hears nothing, and new connections are as any.
func TestVanishedIsBack(t *testing.T) {
	for _, x := range []struct {
		name string
		send func(w *world, c net.Conn)
	}{
		{"Write", func(w *world, c net.Conn) { w.write(c, "do you remember me?") }},
		{"CloseWrite", func(w *world, c net.Conn) {
			if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				w.Error(err)
			}
		}},
	} {
		for _, buffer := range []int{0, -1} {
			t.Run(x.name, func(t *testing.T) {
				run(t, buffer, func(w *world) {
					w.set("α", "β", netem.Rules{Latency: netem.Constant(5 * ms)})
					w.set("β", "α", netem.Rules{Latency: netem.Constant(7 * ms)})
					c, _ := w.pair("α", "β")
					silent, _ := w.pair("α", "β")
					_, accepted := w.pair("β", "α")
					if err := w.em.Vanish(w.net.Host("β")); err != nil {
						t.Error(err)
					}
					w.write(c, "hello?")
					w.nothing(c)
					w.net.Host("β") // it is back
					w.nothing(c)
					for _, old := range []net.Conn{c, accepted} {
						x.send(w, old)
						w.took("the reset", w.ends(old, syscall.ECONNRESET), 12*ms)
						if _, err := old.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
							t.Errorf("Write: %v", err)
						}
						old.Close()
					}
					e, f := w.pair("α", "β")
					w.write(e, "hello")
					w.arrives(f, "hello")
					w.nothing(silent)
					w.state("α", "β", netem.State{Conns: 2})
					w.state("β", "α", netem.State{Conns: 2}) // what is left of the silent one, too
				})
			})
		}
	}
}

// The reset travels as anything else does.
func TestVanishedAnswerIsHeld(t *testing.T) {
	run(t, -1, func(w *world) {
		c, _ := w.pair("α", "β")
		if err := w.em.Vanish(w.net.Host("β")); err != nil {
			t.Error(err)
		}
		w.net.Host("β")
		p := w.em.OneWay([]string{"β"}, []string{"α"})
		w.write(c, "one")
		w.write(c, "two")
		w.nothing(c)
		w.state("β", "α", netem.State{Conns: 1, Segments: 1, Cut: true})
		time.AfterFunc(time.Minute, p.Heal)
		w.took("the reset", w.ends(c, syscall.ECONNRESET), time.Minute)
		w.state("β", "α", netem.State{})
	})
}

// A port that an orphan had is another connection's later, between the same two ports.
func TestVanishedPorts(t *testing.T) {
	run(t, -1, func(w *world) {
		for range 3 {
			c, _ := w.pair("α", "β")
			if err := w.em.Vanish(w.net.Host("β")); err != nil {
				t.Error(err)
			}
			w.write(c, "lost")
			c.Close()
			d, e := w.pair("α", "β")
			if c.LocalAddr().String() != d.LocalAddr().String() || c.RemoteAddr().String() != d.RemoteAddr().String() {
				t.Errorf("%v to %v after %v to %v", d.LocalAddr(), d.RemoteAddr(), c.LocalAddr(), c.RemoteAddr())
			}
			w.write(d, "there")
			w.arrives(e, "there")
			w.write(e, "and back")
			w.arrives(d, "and back")
			d.Close()
			w.ends(e, io.EOF)
			e.Close()
			w.state("α", "β", netem.State{})
			w.state("β", "α", netem.State{})
		}
	})
}

// A host vanishes while the answer to a dial of another is on the way: the connection is an orphan when it comes to be.
func TestVanishDuringDial(t *testing.T) {
	run(t, 0, func(w *world) {
		addr := w.serve("β")
		w.set("β", "α", netem.Rules{Latency: netem.Constant(time.Second)})
		time.AfterFunc(500*ms, func() {
			if err := w.em.Vanish(w.net.Host("β")); err != nil {
				t.Error(err)
			}
		})
		c, _, err := w.dial("α", addr)
		if err != nil {
			t.Fatal(err)
		}
		w.write(c, "hello?")
		w.nothing(c)
		w.net.Host("β")
		w.write(c, "hello?")
		w.took("the reset", w.ends(c, syscall.ECONNRESET), time.Second)

		// One that gives up leaves what the next dial clears away.
		addr = w.serve("β")
		time.AfterFunc(500*ms, func() { _ = w.em.Vanish(w.net.Host("β")) })
		c.Close()
		ctx, cancel := context.WithTimeout(w.ctx, 700*ms)
		defer cancel()
		if _, err := w.net.Host("α").Dial(ctx, addr); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial: %v", err)
		}
		if c, _, err = w.dial("α", w.serve("β")); err != nil {
			t.Fatal(err)
		}
		c.Close()
		w.net.Host("β").Close()
		time.Sleep(time.Minute)
		w.state("α", "β", netem.State{})
		w.state("β", "α", netem.State{})
	})
}

// A host vanishes while something of it waits for its reader, which has it all the same: it has arrived.
func TestVanishUnread(t *testing.T) {
	for _, end := range []string{"open", "closed"} {
		t.Run(end, func(t *testing.T) {
			run(t, 0, func(w *world) {
				w.set("β", "α", netem.Rules{Latency: netem.Constant(ms)})
				c, d := w.pair("α", "β")
				w.write(d, "last words")
				time.Sleep(time.Nanosecond) // what arrives at one instant comes together
				w.write(d, "never")
				if end == "closed" {
					d.Close()
				}
				time.Sleep(time.Second)
				if err := w.em.Vanish(w.net.Host("β")); err != nil {
					t.Error(err)
				}
				w.arrives(c, "last words")
				w.nothing(c)
				w.net.Host("β")
				w.write(c, "hello?")
				w.took("the reset", w.ends(c, syscall.ECONNRESET), ms)
			})
		})
	}
}

// A host that vanishes has half closed: the other end hears no more than of any other connection.
func TestVanishHalfClosed(t *testing.T) {
	for _, shaped := range []bool{false, true} {
		run(t, -1, func(w *world) {
			c, d := w.pair("α", "β")
			if shaped {
				w.set("β", "α", netem.Rules{Latency: netem.Constant(ms)})
			}
			if err := d.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Error(err)
			}
			w.ends(c, io.EOF)
			if err := w.em.Vanish(w.net.Host("β")); err != nil {
				t.Error(err)
			}
			for range 3 {
				w.write(c, "hello?")
				time.Sleep(time.Second)
			}
			w.net.Host("β")
			w.write(c, "hello?")
			time.Sleep(time.Second)
			if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Write to a host that is back: %v", err)
			}
			c.Close()
			w.state("α", "β", netem.State{})
			w.state("β", "α", netem.State{})
		})
	}
}

// A host that vanishes has both ends of the connections to itself.
func TestVanishSelf(t *testing.T) {
	run(t, 0, func(w *world) {
		w.pair("α", "α")
		if err := w.em.Vanish(w.net.Host("α")); err != nil {
			t.Error(err)
		}
		w.state("α", "α", netem.State{})
	})
}

// Two networks may have the same Net, and hosts of the same name: one crashes alone.
func TestCrashOnOneNetwork(t *testing.T) {
	run(t, -1, func(w *world) {
		other := &world{T: t, em: w.em, ctx: w.ctx}
		other.net = pipenet.Config{Emulator: w.em, Buffer: -1}.New("other")
		defer other.net.Close()
		c, _ := w.pair("α", "β")
		d, e := other.pair("α", "β")
		if err := w.em.Crash(w.net.Host("β")); err != nil {
			t.Error(err)
		}
		w.ends(c, syscall.ECONNRESET)
		w.write(e, "here still")
		w.arrives(d, "here still")

		c, _ = w.pair("α", "β")
		if err := w.em.Vanish(w.net.Host("β")); err != nil {
			t.Error(err)
		}
		w.write(e, "still here")
		w.arrives(d, "still here")
		w.write(c, "hello?") // the β that there is knows nothing of it, but is another
		w.nothing(c)
		w.write(d, "there, too")
		w.arrives(e, "there, too")
	})
}
