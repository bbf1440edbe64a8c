package pipenet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/virtnettest"
)

func TestNames(t *testing.T) {
	for _, name := range []string{"", "α", "a/b", "..", "a\nb", "\xff"} { // any name will do
		n := pipenet.New(name)
		if n.Network() != "pipe"+name || pipenet.AsVirtNet(n).Network() != "pipe"+name {
			t.Errorf("New(%q) is %q, %q", name, n.Network(), pipenet.AsVirtNet(n).Network())
		}
		α := n.Host("α")
		if α.Name() != "α" || α.Network() != "pipe"+name {
			t.Errorf("New(%q): host %q on %q", name, α.Name(), α.Network())
		}
		if n.Host("α") != α || pipenet.AsVirtNet(n).Host("α") != α {
			t.Errorf("New(%q): Host makes another one", name)
		}
		if err := α.Close(); err != nil {
			t.Error(err)
		}
		if pipenet.AsVirtNet(n).Host("α") != nil {
			t.Errorf("New(%q): a closed host is there", name)
		}
		if again := n.Host("α"); again == α {
			t.Errorf("New(%q): Host returns a closed one", name)
		}
		if err := pipenet.AsVirtNet(n).Close(); err != nil {
			t.Error(err)
		}
	}
}

// A host that cannot be is down, and every operation gives the reason.
func TestDownHost(t *testing.T) {
	ctx := context.Background()
	closed := pipenet.New("x")
	closed.Host("α")
	if err := pipenet.AsVirtNet(closed).Close(); err != nil {
		t.Fatal(err)
	}
	cut := pipenet.New("x")
	pipenet.Down(pipenet.AsVirtNet(cut), errors.New("the cable is cut"))
	for _, x := range []struct {
		network *pipenet.Network
		name    string
		dial    string
		listen  string
		is      error
	}{
		{pipenet.New("x"), "a/b",
			`dial pipex a/b:1->β:80: virtnet "pipex": new host "a/b": invalid name "a/b": it contains '/' (none of / \ : [ ] % is allowed)`,
			`listen pipex a/b:7: virtnet "pipex": new host "a/b": invalid name "a/b": it contains '/' (none of / \ : [ ] % is allowed)`, nil},
		{pipenet.New("x"), "",
			`dial pipex :1->β:80: virtnet "pipex": new host "": invalid name: it is empty`,
			`listen pipex :7: virtnet "pipex": new host "": invalid name: it is empty`, nil},
		{closed, "α", "dial pipex α:1->β:80: network is down", "listen pipex α:7: network is down", virtnet.ErrNetDown},
		{closed, "a/b",
			`dial pipex a/b:1->β:80: virtnet "pipex": new host "a/b": invalid name "a/b": it contains '/' (none of / \ : [ ] % is allowed)`,
			`listen pipex a/b:7: virtnet "pipex": new host "a/b": invalid name "a/b": it contains '/' (none of / \ : [ ] % is allowed)`, nil},
		{cut, "α", "dial pipex α:1->β:80: network is down", "listen pipex α:7: network is down", net.ErrClosed},
	} {
		h := x.network.Host(x.name)
		if h.Name() != x.name || h.Network() != "pipex" {
			t.Errorf("Host(%q) is %q on %q", x.name, h.Name(), h.Network())
		}
		_, derr := h.Dial(ctx, "β:80")
		_, lerr := h.Listen(ctx, ":7")
		for _, e := range []struct {
			err  error
			want string
		}{{derr, x.dial}, {lerr, x.listen}} {
			var oe *net.OpError
			switch {
			case e.err == nil || e.err.Error() != e.want:
				t.Errorf("host %q: error %v, want %s", x.name, e.err, e.want)
			case !errors.As(e.err, &oe) || oe != e.err:
				t.Errorf("host %q: %v is a %T, want a *net.OpError", x.name, e.err, e.err)
			case x.is != nil && !errors.Is(e.err, x.is):
				t.Errorf("host %q: %v does not match %v", x.name, e.err, x.is)
			}
		}
		if err := errors.Join(h.Close(), h.Close()); err != nil {
			t.Errorf("host %q: Close: %v", x.name, err)
		}
	}
}

// Many goroutines ask for the same hosts at once, and all get the same.
func TestHostConcurrently(t *testing.T) {
	n := pipenet.New("t")
	for round := range 50 {
		name := fmt.Sprint("h", round)
		hosts := make([]*virtnet.Host, 8)
		var wg sync.WaitGroup
		for i := range hosts {
			wg.Go(func() {
				if i != 0 {
					hosts[i] = n.Host(name)
					return
				}
				// A NewHost of the sub-network may come first or not.
				if h, err := pipenet.AsVirtNet(n).NewHost(context.Background(), name); err == nil {
					hosts[0] = h
				} else if hosts[0] = n.Host(name); !errors.Is(err, virtnet.ErrHostDup) {
					t.Errorf("NewHost: %v", err)
				}
			})
		}
		wg.Wait()
		for _, h := range hosts {
			if h != hosts[0] {
				t.Fatal("not all got the same host")
			}
		}
	}
}

// Hosts are asked for while they are closed, and while the network is: what comes is a host, up or down.
func TestHostWhileClosing(t *testing.T) {
	for range 20 {
		n := pipenet.New("t")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 100 {
					h := n.Host("α")
					if _, err := h.Dial(context.Background(), "α:1"); err == nil {
						t.Error("Dial succeeds")
					}
					if err := h.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() {
			if err := pipenet.AsVirtNet(n).Close(); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if _, err := n.Host("α").Listen(context.Background(), ""); !errors.Is(err, virtnet.ErrNetDown) {
			t.Errorf("Listen: %v, want ErrNetDown", err)
		}
	}
}

// Networks know nothing of each other, even if they have the same name.
func TestSeveralNetworks(t *testing.T) {
	a, b := pipenet.New("t"), pipenet.New("t")
	l, err := a.Host("α").Listen(context.Background(), ":1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Host("β").Dial(context.Background(), "α:1")
	if want := `dial pipet β:1->α:1: ram(pipet): query ["α"]: no such host`; err == nil || err.Error() != want {
		t.Errorf("Dial: %v, want %s", err, want)
	}
	if _, err := b.Host("α").Listen(context.Background(), ":1"); err != nil {
		t.Errorf("Listen: %v", err)
	}
	if err := pipenet.AsVirtNet(b).Close(); err != nil {
		t.Error(err)
	}
	c, d := virtnettest.Connect(t, a.Host("γ"), a.Host("α"))
	go c.Write([]byte("x"))
	if _, err := d.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if l.Close() != nil || pipenet.AsVirtNet(a).Close() != nil {
		t.Error("Close fails")
	}
}
