//go:build unix

package lonet_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/internal/needs"
)

// These tests have an outsider on the network. What fails here is wrong in the code, or docs/lonet.md does not say it.

// interop runs a test with an outsider that has a mark of life, and with one that has none.
func interop(t *testing.T, test func(p *place, mark bool)) {
	for _, mark := range []bool{true, false} {
		t.Run(fmt.Sprintf("mark=%v", mark), func(t *testing.T) { test(newPlace(t), mark) })
	}
}

// Whoever makes the network, the other finds it. Both dial both, and both say the same of each connection.
func TestInteropDial(t *testing.T) {
	t.Run("they make the network", func(t *testing.T) {
		interop(t, func(p *place, mark bool) {
			o := p.outsider(mark)
			o.announce("β")
			p.dialBothWays(p.host("α"), o)
		})
	})
	t.Run("we make the network", func(t *testing.T) {
		interop(t, func(p *place, mark bool) {
			α := p.host("α")
			o := p.outsider(mark)
			o.announce("β")
			p.dialBothWays(α, o)
		})
	})
}

// dialBothWays checks connections between host α of ours and β of theirs, which have none yet.
func (p *place) dialBothWays(α *virtnet.Host, o *outsider) {
	p.Helper()
	l := p.listen(α, ":1")
	o.do("listen", args{"host": "β", "port": 10})

	in := p.dialled(o, "β", l, "behind the request")
	p.wantPorts(in, "α:2", "β:1")
	wantText(p, in.ours, "behind the request")
	out := p.dialling(α, o, "β", 10, "behind the reply")
	p.wantPorts(out, "α:3", "β:2")
	wantText(p, out.ours, "behind the reply")

	p.close(o, in) // the ports are free again, and the lowest
	again := p.dialled(o, "β", l, "")
	p.wantPorts(again, "α:2", "β:1")
	for _, c := range []pair{out, again} {
		p.bulk(o, c)
		p.close(o, c)
	}
	p.wantPorts(p.dialling(α, o, "β", 10, ""), "α:2", "β:1")
}

// bulk sends a megabyte and the end of it, each way in turn: one way is closed while the other goes on.
func (p *place) bulk(o *outsider, c pair) {
	p.Helper()
	const size = 1 << 20
	sending := o.start("send", args{"conn": c.theirs.Conn, "size": size, "end": true})
	sum := sha256.New()
	n, err := io.Copy(sum, c.ours)
	if want := o.done(sending).SHA256; err != nil || n != size || fmt.Sprintf("%x", sum.Sum(nil)) != want {
		p.Errorf("from the outsider: %d bytes, %v, sum %x, want %d bytes, sum %s", n, err, sum.Sum(nil), size, want)
	}

	receiving := o.start("recv", args{"conn": c.theirs.Conn})
	sum.Reset()
	src := io.LimitReader(rand.NewChaCha8([32]byte{1}), size)
	if _, err := io.Copy(c.ours, io.TeeReader(src, sum)); err != nil {
		p.Error(err)
	}
	if err := c.ours.CloseWrite(); err != nil {
		p.Error(err)
	}
	got := o.done(receiving)
	if got.Size != size || got.SHA256 != fmt.Sprintf("%x", sum.Sum(nil)) {
		p.Errorf("to the outsider: %d bytes, sum %s, want %d bytes, sum %x", got.Size, got.SHA256, size, sum.Sum(nil))
	}
}

// Who dials may send all it has, and the end of it, before it has the reply.
func TestInteropEndBeforeReply(t *testing.T) {
	interop(t, func(p *place, mark bool) {
		o := p.outsider(mark)
		o.announce("β")
		l := p.listen(p.host("α"), ":1")
		dial := o.start("dial", args{"src": "β", "dst": "α:1", "payload": "all of it", "end": true})
		c := p.accept(l)
		c.SetDeadline(time.Now().Add(patience))
		if got, err := io.ReadAll(c); err != nil || string(got) != "all of it" {
			p.Errorf("read %q, %v", got, err)
		}
		io.WriteString(c, "thanks")
		c.Close()
		if got := o.do("recv", args{"conn": o.done(dial).Conn}).Data; got != "thanks" {
			p.Errorf("the outsider read %q", got)
		}

		// A refusal gets through to one who has said something already.
		much := strings.Repeat("x", 10000)
		o.wantError("connection refused", "dial", args{"src": "β", "dst": "α:7", "payload": much, "end": true})
	})
}

// What does not succeed does so with the right error, on both sides.
func TestInteropRefused(t *testing.T) {
	interop(t, func(p *place, mark bool) {
		α, o := p.host("α"), p.outsider(mark)
		o.announce("β")
		p.wantDialError(α, "β:10", virtnet.ErrConnRefused, "connection refused")
		p.wantDialError(α, "β:2147483647", virtnet.ErrConnRefused, "connection refused")
		p.wantDialError(α, "γ:1", virtnet.ErrNoHost, "no such host")
		o.wantError("connection refused", "dial", args{"src": "β", "dst": "α:10"})
		o.wantError("connection refused", "dial", args{"src": "β", "dst": "α:0"})

		at := p.osladdr("α") // where the outsider asks without a look into the registry
		o.wantError("address γ:1: no such host", "dial", args{"src": "β", "dst": "γ:1", "at": at})
		o.wantError("protocol error: dst address invalid", "dial", args{"src": "β", "dst": "%:1", "at": at})
		o.wantError("protocol error: dst address invalid", "dial", args{"src": "β", "dst": "α:2147483648", "at": at})

		// A listener goes down while a dial waits.
		l := p.listen(α, ":1")
		dial := o.start("dial", args{"src": "β", "dst": "α:1"})
		l.Close()
		if _, err := o.wait(dial); err == nil || err.Error() != "connection refused" {
			p.Errorf("the outsider's dial to a listener that goes down: %v", err)
		}
		o.do("listen", args{"host": "β", "port": 5})
		refused := make(chan error, 1)
		go func() {
			_, err := α.Dial(p.ctx, "β:5")
			refused <- err
		}()
		o.do("unlisten", args{"host": "β", "port": 5})
		if err := <-refused; !errors.Is(err, virtnet.ErrConnRefused) {
			p.Errorf("our dial to a listener that goes down: %v", err)
		}
	})
}

// wantDialError checks the error of a dial from the first port of h, and what its text ends with.
func (p *place) wantDialError(h *virtnet.Host, addr string, is error, text string) {
	p.Helper()
	_, err := h.Dial(p.ctx, addr)
	dial := fmt.Sprintf("dial lonett %s:1->%s: ", h.Name(), addr)
	if err == nil || is != nil && !errors.Is(err, is) || !strings.HasPrefix(err.Error(), dial) || !strings.HasSuffix(err.Error(), text) {
		p.Errorf("error %v, want %s%s", err, dial, text)
	}
}

// Neither side takes an address of another network for one of its own.
func TestInteropMismatch(t *testing.T) {
	interop(t, func(p *place, mark bool) {
		α := p.host("α")
		o := p.newOutsider()
		o.join("other", mark)
		o.announce("β")
		o.wantError("protocol error: network mismatch", "dial", args{"src": "β", "dst": "α:1", "at": p.osladdr("α")})
		p.setRow("β", o.osladdr)
		p.wantDialError(α, "β:1", nil, "lonet: connect "+o.osladdr+`: protocol error: reply from network "lonetother"`)
		p.host("β") // whose row says nothing

		// The network is not what its directory is called.
		p.sql("other", `UPDATE meta SET value = 'else' WHERE name = 'network'`)
		p.newOutsider().wantError("registry: network: want other, have else", "join", args{"network": "other", "mark": mark})
		if _, err := p.cfg.Join(p.ctx, "other"); err == nil || !strings.Contains(err.Error(), `"else"`) {
			p.Errorf("Join: %v", err)
		}
	})
}

// Names that must be quoted, for the line, SQL or the file system.
func TestInteropNames(t *testing.T) {
	interop(t, func(p *place, mark bool) {
		o, ours := p.outsider(mark), p.join()
		o.announce("them")
		o.do("listen", args{"host": "them", "port": 10})
		us := must[*virtnet.Host](p)(ours.NewHost(p.ctx, "us"))
		l := p.listen(us, ":10")
		want := func(c pair, ours, theirs string) {
			p.Helper()
			p.wantPorts(c, ours, theirs)
			p.close(o, c)
		}
		for _, name := range []string{
			"α", "a b", " ", `"`, `we"ird'`, "?", "-x", "*", "日本", "\U0001f600", strings.Repeat("x", 253), strings.Repeat(`"`, 126),
			"\u00a0", "a\u2028b", "\u00ad", "e\u0301", "\ufffd", "\U000e0001",
		} {
			o.announce(name)
			o.do("listen", args{"host": name, "port": 10})
			want(p.dialling(us, o, name, 10, ""), "us:1", name+":1")
			want(p.dialled(o, name, l, ""), "us:1", name+":1")
			o.do("withdraw", args{"host": name})

			h := must[*virtnet.Host](p)(ours.NewHost(p.ctx, name))
			want(p.dialling(h, o, "them", 10, ""), name+":1", "them:1")
			want(p.dialled(o, "them", p.listen(h, ":10"), ""), name+":1", "them:1")
			if err := h.Close(); err != nil {
				p.Error(err)
			}
		}
	})
}

// A name has one owner, and is free once that has given it up. Then nobody is there, in the registry or, for who
// remembers the address, at it.
func TestInteropWithdraw(t *testing.T) {
	interop(t, func(p *place, mark bool) {
		o, ours, β := p.outsider(mark), p.join(), p.host("β")
		α := must[*virtnet.Host](p)(ours.NewHost(p.ctx, "α"))
		at := p.osladdr("α")
		o.announce("γ")
		for range 2 {
			o.wantError("host exists", "announce", args{"host": "α"})
			if _, err := ours.NewHost(p.ctx, "γ"); !errors.Is(err, virtnet.ErrHostDup) {
				p.Errorf("NewHost of a name that the outsider has: %v, want %v", err, virtnet.ErrHostDup)
			}
			o.do("listen", args{"host": "γ", "port": 1})
			p.close(o, p.dialling(β, o, "γ", 1, "")) // from here on we remember the address

			if err := α.Close(); err != nil {
				p.Fatal(err)
			}
			o.wantError("address α:1: no such host", "dial", args{"src": "γ", "dst": "α:1"})
			o.wantError("address α:1: no such host", "dial", args{"src": "γ", "dst": "α:1", "at": at})
			o.do("withdraw", args{"host": "γ"})
			p.wantDialError(β, "γ:1", virtnet.ErrNoHost, "no such host")
			p.setRow("γ", o.osladdr) // a row that says otherwise
			p.wantDialError(β, "γ:1", virtnet.ErrNoHost, "no such host")

			p.setRow("δ", at)
			o.announce("δ") // taken over from one who lives, and does not have it
			o.do("withdraw", args{"host": "δ"})

			// Each takes what was the other's.
			o.announce("α")
			γ := must[*virtnet.Host](p)(ours.NewHost(p.ctx, "γ"))
			p.wantDialError(β, "α:1", virtnet.ErrConnRefused, "connection refused")
			o.wantError("connection refused", "dial", args{"src": "α", "dst": "γ:1"})
			o.do("withdraw", args{"host": "α"})
			if err := γ.Close(); err != nil {
				p.Fatal(err)
			}
			α = must[*virtnet.Host](p)(ours.NewHost(p.ctx, "α"))
			o.announce("γ")
		}
	})
}

// A sqlite3 shell, which names no columns and has no patience, writes rows beside us.
func TestInteropShell(t *testing.T) {
	interop(t, func(p *place, mark bool) {
		β, o := p.host("β"), p.outsider(mark)
		shell := needs.Program(p, "sqlite3")
		churned := make(chan error, 1)
		churn := p.join()
		go func() {
			var err error
			for i := 0; i < 100 && err == nil; i++ {
				var h *virtnet.Host
				if h, err = churn.NewHost(p.ctx, fmt.Sprint("churn", i)); err == nil {
					err = h.Close()
				}
			}
			churned <- err
		}()
		for i := range 20 {
			o.announce(fmt.Sprint("o", i))
		}
		eventually(p, "the shell's INSERT goes through", func() bool {
			row := fmt.Sprintf("INSERT INTO hosts VALUES ('by hand', '%s');", o.osladdr)
			out, err := exec.CommandContext(p.ctx, shell, "-init", os.DevNull, "-batch", p.path("t"), row).CombinedOutput()
			if err != nil && !strings.Contains(string(out), "database is locked") {
				p.Fatalf("%v: %s", err, out)
			}
			return err == nil
		})
		if err := <-churned; err != nil {
			p.Error(err)
		}
		for i := range 20 {
			p.wantDialError(β, fmt.Sprintf("o%d:1", i), virtnet.ErrConnRefused, "connection refused")
		}
		p.wantDialError(β, "by hand:1", virtnet.ErrNoHost, "no such host")
		p.host("by hand") // nobody has it
		p.wantDialError(β, "by hand:1", virtnet.ErrConnRefused, "connection refused")
	})
}

// The names of an outsider are its own while it lives, stopped or not, and free at once when it is killed. A dial
// tells what is the case.
func TestInteropTheirEnd(t *testing.T) {
	for name, stop := range map[string]bool{"killed": false, "stopped, then killed": true} {
		t.Run(name, func(t *testing.T) {
			interop(t, func(p *place, mark bool) {
				β, o := p.host("β"), p.outsider(mark)
				o.announce("α")
				o.announce("αα")
				o.do("listen", args{"host": "α", "port": 1})
				conn := p.dialling(β, o, "α", 1, "").ours
				if _, err := p.join().NewHost(p.ctx, "α"); !errors.Is(err, virtnet.ErrHostDup) {
					p.Errorf("NewHost: %v, want %v", err, virtnet.ErrHostDup)
				}
				if stop {
					o.signal(syscall.SIGSTOP)
					p.wantTaken("α")
					o.signal(syscall.SIGCONT)
					p.close(o, p.dialling(β, o, "α", 1, ""))
					o.signal(syscall.SIGSTOP)
				}
				o.kill()
				if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					p.Errorf("Read from one who was killed: %v", err)
				}
				_, err := β.Dial(p.ctx, "α:1") // whose address is remembered
				wantGone(p, err)
				_, err = β.Dial(p.ctx, "αα:1")
				wantGone(p, err)
				quickly(p, "taking the name over", func() { p.echo(p.listen(p.host("α"), ":1")) })
				p.dial(β, "α:1").Close()
				if mark { // what else it had went with its mark
					p.wantLeft(o.osladdr, "αα")
				}
				p.host("αα")
			})
		})
	}
}

// So it is with our names, for an outsider.
func TestInteropOurEnd(t *testing.T) {
	for name, stop := range map[string]bool{"killed": false, "stopped, then killed": true} {
		t.Run(name, func(t *testing.T) {
			interop(t, func(p *place, mark bool) {
				β, o, α := p.host("β"), p.outsider(mark), p.member("α")
				o.announce("γ")
				α.do("host", "αα")
				osladdr := p.osladdr("α")
				o.wantError("host exists", "announce", args{"host": "α"})
				if stop {
					α.signal(syscall.SIGSTOP)
					o.wantError("host exists", "announce", args{"host": "α"})
				}
				α.kill()
				o.wantError("process gone: connection refused", "dial", args{"src": "γ", "dst": "α:1"})
				o.announce("α")
				o.do("listen", args{"host": "α", "port": 1})
				p.wantPorts(p.dialling(β, o, "α", 1, ""), "β:1", "α:2")
				p.wantLeft(osladdr, "αα")
			})
		})
	}
}

// Who leaves as it should is not there any more at once, and leaves nothing.
func TestInteropLeave(t *testing.T) {
	interop(t, func(p *place, mark bool) {
		sub, β, o := p.join(), p.host("β"), p.outsider(mark)
		α := must[*virtnet.Host](p)(sub.NewHost(p.ctx, "α"))
		o.announce("γ")
		o.do("listen", args{"host": "γ", "port": 1})
		conn := p.dialling(β, o, "γ", 1, "").ours
		o.start("leave", nil)
		o.cmd.Wait()
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			p.Errorf("Read: %v, want EOF", err)
		}
		p.wantLeft(o.osladdr, "γ")
		p.wantDialError(α, "γ:1", virtnet.ErrNoHost, "no such host")

		o = p.outsider(mark)
		o.announce("γ")
		osladdr := p.osladdr("α")
		c := p.dialled(o, "γ", p.listen(α, ":1"), "")
		if err := sub.Close(); err != nil {
			p.Error(err)
		}
		if got := o.do("recv", args{"conn": c.theirs.Conn}).Size; got != 0 {
			p.Errorf("the outsider received %d bytes, want the end", got)
		}
		p.wantLeft(osladdr, "α")
		o.wantError("address α:1: no such host", "dial", args{"src": "γ", "dst": "α:1"})
		o.wantError("process gone: connection refused", "dial", args{"src": "γ", "dst": "α:1", "at": osladdr})
	})
}

// wantLeft checks that there is no row of a host, and no mark of life of its process, which accepted at osladdr.
func (p *place) wantLeft(osladdr, host string) {
	p.Helper()
	if _, err := os.Stat(p.mark(osladdr)); err == nil {
		p.Errorf("the mark of life of %s is still there", osladdr)
	}
	if got := p.osladdr(host); got != "" {
		p.Errorf("host %s is still at %s", host, got)
	}
}

// A dial that was given up does not come out of an Accept, on either side.
func TestInteropGivenUp(t *testing.T) {
	interop(t, func(p *place, mark bool) {
		o, ours := p.outsider(mark), p.join()
		α, αα := must[*virtnet.Host](p)(ours.NewHost(p.ctx, "α")), must[*virtnet.Host](p)(ours.NewHost(p.ctx, "αα"))
		o.announce("β")
		o.announce("ββ")
		l := p.listen(α, ":1")
		o.do("listen", args{"host": "β", "port": 1})

		ctx, cancel := context.WithTimeout(p.ctx, 100*time.Millisecond)
		defer cancel()
		if _, err := αα.Dial(ctx, "β:1"); !errors.Is(err, context.DeadlineExceeded) {
			p.Errorf("dial that nobody accepts: %v", err)
		}
		p.wantPorts(p.dialling(α, o, "β", 1, ""), "α:2", "β:2")

		o.wantError("timed out", "dial", args{"src": "ββ", "dst": "α:1", "timeout": 0.1})
		p.wantPorts(p.dialled(o, "β", l, ""), "α:3", "β:3")
	})
}

// Outsiders of both kinds and processes of ours make a network at the same moment.
func TestInteropJoinTogether(t *testing.T) {
	const each = 3
	p := newPlace(t)
	var outsiders [each]*outsider
	var joining [each]int
	for i := range outsiders {
		outsiders[i] = p.newOutsider()
		outsiders[i].wantError("name invalid", "announce", args{"host": ""}) // it runs
	}
	ours := make(chan *virtnet.SubNetwork, each)
	for i, o := range outsiders {
		joining[i] = o.start("join", args{"network": "t", "mark": i%2 == 0})
		go func() {
			n, err := p.cfg.Join(p.ctx, "t")
			if err != nil {
				t.Error(err)
			}
			ours <- n
		}()
	}
	for i, o := range outsiders {
		n := <-ours
		if n == nil {
			t.FailNow()
		}
		defer n.Close()
		o.done(joining[i])
		theirs := fmt.Sprint("theirs", i)
		o.announce(theirs)
		o.do("listen", args{"host": theirs, "port": 1})
		h := must[*virtnet.Host](t)(n.NewHost(p.ctx, fmt.Sprint("ours", i)))
		l := p.listen(h, ":1")
		for j, o := range outsiders[:i+1] {
			p.wantPorts(p.dialled(o, fmt.Sprint("theirs", j), l, ""), fmt.Sprintf("ours%d:%d", i, 2+j), fmt.Sprintf("theirs%d:%d", j, 2+i-j))
		}
	}
}
