package astranet_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
	"github.com/virtnet/virtnet/xnet"
)

// A world is a network in a bubble on which nodes are linked.
type world struct {
	t   *testing.T
	em  *netem.Net
	net *pipenet.Network
}

func newWorld(t *testing.T, seed uint64, r netem.Rules) *world {
	em := netem.New(seed)
	w := &world{t, em, pipenet.Config{Emulator: em, Buffer: -1}.New("t")}
	if err := em.SetAll(r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.net.Close() })
	return w
}

// node returns a node on a host, that takes links at its ports 1 and 2.
func (w *world) node(host string, c astranet.Config) astranet.AstraNet {
	w.t.Helper()
	c.Networks = []xnet.Networker{w.net.Host(host)}
	n := c.New()
	w.t.Cleanup(func() { n.Close() })
	for _, a := range []string{":1", ":2"} {
		if err := n.ListenAndServe("pipet", a); err != nil {
			w.t.Fatal(err)
		}
	}
	return n
}

// joins has a node join addresses, each after a while, on goroutines.
func joins(wg *sync.WaitGroup, n astranet.AstraNet, addrs ...string) {
	for _, a := range addrs {
		wg.Go(func() { _ = n.Join("pipet", a) })
	}
}

// wantOneLink checks that two nodes have one link in use, which is the same for both.
func (w *world) wantOneLink(a, b astranet.AstraNet) (number [2]uint64) {
	w.t.Helper()
	la, lb := inUse(a, b), inUse(b, a)
	if len(la) != 1 || len(lb) != 1 || la[0].Local != lb[0].Remote || la[0].Remote != lb[0].Local || la[0].Dialled == lb[0].Dialled {
		w.t.Fatalf("links %+v and %+v, want one, and the same", la, lb)
	}
	return [2]uint64{la[0].Number, lb[0].Number}
}

func inUse(a, b astranet.AstraNet) []astranet.Linkage {
	return slices.DeleteFunc(astranet.LinksWith(a, b.ID()), func(l astranet.Linkage) bool { return l.Standby })
}

// Whoever dials whom, when, at how many addresses, and whatever is lost then: in the end there is one link, the same for
// both, and it stays.
func TestOrders(t *testing.T) {
	t.Parallel()
	seeds := uint64(100)
	if long() {
		seeds = 3000
	}
	for seed := range seeds {
		if t.Failed() {
			return
		}
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { orders(t, seed) }) })
	}
}

func orders(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	w := newWorld(t, seed, netem.Rules{Latency: netem.Exponential(20 * time.Millisecond)})
	a, b := w.node("a", astranet.Config{ID: 1}), w.node("b", astranet.Config{ID: 2})
	if r.IntN(2) == 0 {
		a, b = w.node("b2", astranet.Config{ID: 4}), w.node("a2", astranet.Config{ID: 3})
	}
	bindEcho(t, b)
	hosts := [2]string{hostOf(a), hostOf(b)}
	var wg sync.WaitGroup
	mask := 1 + r.IntN(15)
	for i := range 4 {
		if mask>>i&1 == 0 {
			continue
		}
		from, to := i/2, 1-i/2
		delay := time.Duration(r.IntN(60)) * time.Millisecond
		wg.Go(func() {
			time.Sleep(delay)
			_ = [2]astranet.AstraNet{a, b}[from].Join("pipet", fmt.Sprintf("%s:%d", hosts[to], 1+i%2))
		})
	}
	for range r.IntN(6) { // what goes wrong
		time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
		switch r.IntN(3) {
		case 0:
			w.em.Link(hosts[0], hosts[1]).Reset()
		case 1:
			p := w.em.Isolate(hosts[r.IntN(2)])
			time.Sleep(time.Duration(r.IntN(8000)) * time.Millisecond)
			p.Heal()
		case 2:
			w.em.Link(hosts[0], hosts[1]).Reset()
			time.Sleep(time.Duration(r.IntN(30)) * time.Millisecond)
			w.em.Link(hosts[1], hosts[0]).Reset()
		}
	}
	time.Sleep(40 * time.Second)
	wg.Wait()
	first := w.wantOneLink(a, b)
	wantEcho(t, a)
	time.Sleep(time.Minute)
	if now := w.wantOneLink(a, b); now != first {
		t.Errorf("the link has changed for nothing: numbers %v, then %v", first, now)
	}
}

// hostOf returns the host at which a node takes links.
func hostOf(n astranet.AstraNet) string {
	host := n.Addrs()[0].String()
	return host[:len(host)-len(":1")]
}

// Two that dial each other at once are linked without a gap, whichever of the connections comes about first at each end.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	seeds := uint64(300)
	if long() {
		seeds = 20000
	}
	synctest.Test(t, func(t *testing.T) {
		for seed := range seeds {
			atOnce(t, seed)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	})
}

func atOnce(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 8))
	w := newWorld(t, seed, netem.Rules{Latency: netem.Exponential(20 * time.Millisecond)})
	defer w.net.Close()
	a, b := w.node("a", astranet.Config{ID: 1}), w.node("b", astranet.Config{ID: 2})
	defer a.Close()
	defer b.Close()
	var wg sync.WaitGroup
	joins(&wg, a, "b:1")
	time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
	joins(&wg, b, "a:1")
	for len(inUse(a, b)) == 0 || len(inUse(b, a)) == 0 {
		time.Sleep(time.Millisecond)
	}
	for range 2000 {
		if len(inUse(a, b)) != 1 || len(inUse(b, a)) != 1 {
			t.Fatalf("links %+v and %+v: there was one for both before", inUse(a, b), inUse(b, a))
		}
		time.Sleep(time.Millisecond)
	}
	wg.Wait()
	w.wantOneLink(a, b)
	if !inUse(a, b)[0].Dialled {
		t.Errorf("the link that is kept is not the one that the lower id has dialled")
	}
}

// lossy is a network whose connections can be lost at this end only.
type lossy struct {
	xnet.Networker
	mu    sync.Mutex
	conns []*lossyConn
}

func (l *lossy) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := l.Networker.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return l.add(c), nil
}

func (l *lossy) Listen(ctx context.Context, addr string) (xnet.Listener, error) {
	inner, err := l.Networker.Listen(ctx, addr)
	return lossyListener{inner, l}, err
}

type lossyListener struct {
	xnet.Listener
	net *lossy
}

func (l lossyListener) Accept(ctx context.Context) (net.Conn, error) {
	c, err := l.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return l.net.add(c), nil
}

func (l *lossy) add(c net.Conn) net.Conn {
	near, far := net.Pipe()
	lc := &lossyConn{Conn: near, remote: c.RemoteAddr(), local: c.LocalAddr(), out: c, in: far}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, lc)
	go func() { _, _ = io.Copy(far, c); lc.ended() }()
	go func() { _, _ = io.Copy(c, far); lc.ended() }()
	return lc
}

// lose loses all connections: this end sees their end, the other nothing.
func (l *lossy) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.lost.Store(true)
		c.in.Close()
	}
	l.conns = nil
}

type lossyConn struct {
	net.Conn
	local, remote net.Addr
	out, in       net.Conn
	lost          atomic.Bool
}

func (c *lossyConn) LocalAddr() net.Addr  { return c.local }
func (c *lossyConn) RemoteAddr() net.Addr { return c.remote }

func (c *lossyConn) ended() {
	c.in.Close()
	if !c.lost.Load() {
		c.out.Close()
	}
}

// A link that one end has lost, and the other not noticed yet, is replaced in little more than a second, whoever has the
// lower id, has dialled and dials.
func TestHalfOpenLink(t *testing.T) {
	t.Parallel()
	for _, ids := range [][2]uint64{{1, 2}, {2, 1}} {
		for _, first := range []string{"dialled by who loses it", "dialled by the other"} {
			for _, who := range []string{"who has lost it dials", "both dial"} {
				t.Run(fmt.Sprint("id ", ids[0], ", ", first, ", ", who), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t, 1, netem.Rules{Latency: netem.Constant(10 * time.Millisecond)})
						net := &lossy{Networker: w.net.Host("a")}
						a := astranet.Config{ID: ids[0], Networks: []xnet.Networker{net}}.New()
						defer a.Close()
						if err := a.ListenAndServe("pipet", ":1"); err != nil {
							t.Fatal(err)
						}
						b := w.node("b", astranet.Config{ID: ids[1]})
						bindEcho(t, b)
						var err error
						if first == "dialled by the other" {
							err = b.Join("pipet", "a:1")
						} else {
							err = a.Join("pipet", "b:1")
						}
						if err != nil {
							t.Fatal(err)
						}
						if who == "both dial" || first == "dialled by the other" {
							if err := a.Join("pipet", "b:2"); err != nil {
								t.Fatal(err)
							}
						}
						if who == "both dial" {
							if err := b.Join("pipet", "a:1"); err != nil {
								t.Fatal(err)
							}
						}
						before := w.wantOneLink(a, b)
						time.Sleep(5 * time.Second)
						net.lose()
						time.Sleep(1500 * time.Millisecond)
						if after := w.wantOneLink(a, b); after[1] == before[1] { // a has forgotten b meanwhile, and counts anew
							t.Errorf("links number %v, then %v", before, after)
						}
						wantEcho(t, a)
					})
				})
			}
		}
	}
}
