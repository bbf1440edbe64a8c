package lonet_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// These tests dial hosts whose address is remembered, after it has become another.

// moves calls test with each way in which a host can leave the process where it was dialled. leave is done when it
// has left.
func moves(t *testing.T, test func(t *testing.T, p *place, leave func(), β *virtnet.Host)) {
	for _, way := range []string{"host closed", "process left", "process killed"} {
		t.Run(way, func(t *testing.T) {
			p := newPlace(t)
			α := p.member("α")
			α.do("listen", "α", "α:1")
			α.do("echo", "α:1")
			β := p.host("β")
			p.dial(β, "α:1").Close()
			test(t, p, func() {
				switch way {
				case "host closed":
					α.do("close", "α")
				case "process left":
					α.do("leave")
				case "process killed":
					α.kill()
				}
				if way != "process killed" {
					eventually(t, "the name is withdrawn", func() bool { return p.osladdr("α") == "" })
				}
			}, β)
		})
	}
}

// wantAnswer dials and checks that it is this text's listener that accepts.
func (p *place) wantAnswer(h *virtnet.Host, addr, text string) {
	p.Helper()
	c := p.dial(h, addr)
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(c); string(got) != text || err != nil {
		p.Errorf("%s answers %q, %v, want %q", addr, got, err, text)
	}
}

// answer makes whoever dials h at port 1 hear the text.
func (p *place) answer(h *virtnet.Host, text string) {
	p.Helper()
	l := p.listen(h, ":1")
	go func() {
		for {
			c, err := l.Accept(p.ctx)
			if err != nil {
				return
			}
			io.WriteString(c, text)
			c.Close()
		}
	}()
	p.Cleanup(func() { l.Close() })
}

// A host that has moved is found where it is now.
func TestMoved(t *testing.T) {
	moves(t, func(t *testing.T, p *place, leave func(), β *virtnet.Host) {
		leave()
		p.answer(p.host("α"), "moved")
		for range 3 {
			p.wantAnswer(β, "α:1", "moved")
		}
	})
}

// A host that has gone is not there, each time.
func TestMovedNowhere(t *testing.T) {
	moves(t, func(t *testing.T, p *place, leave func(), β *virtnet.Host) {
		leave()
		for range 3 {
			_, err := β.Dial(p.ctx, "α:1")
			if p.osladdr("α") != "" { // only of a process that was killed
				wantGone(t, err)
			} else if !errors.Is(err, virtnet.ErrNoHost) {
				t.Errorf("the error is %v, want %v", err, virtnet.ErrNoHost)
			}
		}
	})
}

// A host moves to and fro between two sub-networks, and into the one that dials.
func TestMovedToAndFro(t *testing.T) {
	p := newPlace(t)
	home := p.join()
	β := must[*virtnet.Host](t)(home.NewHost(p.ctx, "β"))
	for range 3 {
		for _, sub := range []*virtnet.SubNetwork{p.join(), home, p.join()} {
			α := must[*virtnet.Host](t)(sub.NewHost(p.ctx, "α"))
			p.answer(α, sub.Network()+α.Name())
			p.wantAnswer(β, "α:1", "lonettα")
			if _, err := β.Dial(p.ctx, "α:9"); !errors.Is(err, virtnet.ErrConnRefused) {
				t.Errorf("nobody listens: %v", err)
			}
			α.Close()
			if _, err := β.Dial(p.ctx, "α:1"); !errors.Is(err, virtnet.ErrNoHost) && !errors.Is(err, virtnet.ErrConnRefused) {
				t.Errorf("after Close: %v", err)
			}
		}
	}
}

// Many dials at once to a host that has moved all find it, whichever of them is first to notice.
func TestMovedWhileManyDial(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	for range 10 {
		sub := p.join()
		p.answer(must[*virtnet.Host](t)(sub.NewHost(p.ctx, "α")), "α")
		var dials sync.WaitGroup
		for range 16 {
			dials.Go(func() {
				c, err := β.Dial(p.ctx, "α:1")
				if err != nil {
					t.Error(err)
					return
				}
				c.Close()
			})
		}
		dials.Wait()
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A host that has moved is found though the process where it was would like to have it again, and refuses dials to
// it meanwhile.
func TestMovedButWanted(t *testing.T) {
	p := newPlace(t)
	old := p.join()
	α := must[*virtnet.Host](t)(old.NewHost(p.ctx, "α"))
	p.answer(α, "old")
	var diallers []*virtnet.Host // each has an address to be wrong about
	for i := range 10 {
		h := p.host(fmt.Sprint("β", i))
		p.wantAnswer(h, "α:1", "old")
		diallers = append(diallers, h)
	}
	α.Close()
	p.answer(p.host("α"), "new")

	enough := make(chan struct{})
	var wanting sync.WaitGroup
	for range 2 {
		wanting.Go(func() {
			for {
				select {
				case <-enough:
					return
				default:
				}
				if _, err := old.NewHost(p.ctx, "α"); !errors.Is(err, virtnet.ErrHostDup) {
					t.Errorf("new host: %v, want %v", err, virtnet.ErrHostDup)
				}
			}
		})
	}
	for _, h := range diallers {
		p.wantAnswer(h, "α:1", "new")
	}
	close(enough)
	wanting.Wait()
}

// The remembered address is that of another network by now, of somebody else on this one, or of nobody that
// speaks lonet.
func TestRememberedPortReused(t *testing.T) {
	for _, who := range []string{"another network", "this network", "a stranger"} {
		t.Run(who, func(t *testing.T) {
			p := newPlace(t)
			β := p.host("β")
			p.answer(p.host("α"), "α")
			osladdr := p.osladdr("α")
			relay := p.relay(osladdr)
			p.setRow("α", relay.l.Addr().String())
			p.wantAnswer(β, "α:1", "α")

			switch who {
			case "another network":
				other := must[*virtnet.SubNetwork](t)(p.cfg.Join(p.ctx, "other"))
				t.Cleanup(func() { other.Close() })
				h := must[*virtnet.Host](t)(other.NewHost(p.ctx, "α"))
				p.answer(h, "other")
				relay.to.Store(p.osladdrIn("other", "α"))
			case "this network":
				relay.to.Store(p.osladdr("β"))
			case "a stranger":
				l := p.rawListen(0)
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						io.WriteString(c, "220 mail.example\r\n")
						c.Close()
					}
				}()
				relay.to.Store(l.Addr().String())
			}
			if c, err := β.Dial(p.ctx, "α:1"); err == nil {
				t.Error("it is still α's")
				c.Close()
			}
			p.setRow("α", osladdr)
			p.wantAnswer(β, "α:1", "α")
		})
	}
}

// A relay stands for a process whose port becomes another's: whoever connects to it is connected to another
// address, which may change.
type relay struct {
	l  *net.TCPListener
	to atomic.Value // string
}

func (p *place) relay(to string) *relay {
	p.Helper()
	r := &relay{l: p.rawListen(0)}
	r.to.Store(to)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := r.l.AcceptTCP()
			if err != nil {
				return
			}
			running.Go(func() {
				defer near.Close()
				far, err := net.DialTimeout("tcp4", r.to.Load().(string), patience)
				if err != nil {
					return
				}
				defer far.Close()
				running.Go(func() {
					io.Copy(far, near)
					far.(*net.TCPConn).CloseWrite()
				})
				io.Copy(near, far)
			})
		}
	})
	p.Cleanup(func() {
		r.l.Close()
		running.Wait()
	})
	return r
}
