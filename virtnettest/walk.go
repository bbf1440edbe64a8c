package virtnettest

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/xnet"
)

var walkClauses = []clause{{
	name: "RandomWalk",
	why:  "a random sequence of operations on three hosts does, step by step, what a simple model of hosts, ports and sockets says: every port, every address, every error. To repeat a walk, set Network.Seed to the one printed",
	run:  testWalk,
}}

const walkSteps = 250

func testWalk(w *world) {
	seeds := []uint64{1, 2, uint64(time.Now().UnixNano())}
	if w.bubble { // its clock always begins at the same time
		seeds[2] = rand.Uint64()
	}
	if w.net.Seed != 0 {
		seeds = []uint64{w.net.Seed}
	}
	for _, seed := range seeds {
		k := &walker{world: w, rng: rand.New(rand.NewPCG(seed, 0))}
		k.walk()
		if w.Failed() {
			w.Fatalf("the walk from Seed %d went:\n%s", seed, strings.Join(k.log, "\n"))
		}
	}
}

// walker is the model beside the network.
type walker struct {
	*world
	rng   *rand.Rand
	hosts []*walkHost
	log   []string
}

type walkHost struct {
	sub   int
	h     *virtnet.Host
	ports map[int]any // *walkListener, *walkEnd or *walkDial
}

type walkListener struct {
	host    *walkHost
	port    int
	l       xnet.Listener
	waiting *walkDial // at most one, so that its turn is certain
}

type walkDial struct {
	host   *walkHost
	port   int
	to     *walkListener
	call   *call[net.Conn]
	cancel context.CancelFunc
}

type walkEnd struct {
	host *walkHost
	port int
	conn net.Conn
	peer *walkEnd // nil once that is closed
}

func (k *walker) walk() {
	for i, name := range []string{"α", "β", "γ"} {
		k.hosts = append(k.hosts, &walkHost{sub: i, h: k.hostAgain(i, name), ports: make(map[int]any)})
	}
	steps := []struct {
		weight int
		step   func()
	}{
		{4, k.listen}, {2, k.dialNobody}, {6, k.connect}, {2, k.dialAndWait}, {2, k.accept}, {1, k.cancelDial},
		{2, k.closeListener}, {5, k.closeEnd}, {4, k.ping}, {1, k.restart},
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	for range walkSteps {
		n := k.rng.IntN(total)
		for _, s := range steps {
			if n -= s.weight; n < 0 {
				s.step()
				break
			}
		}
		h := k.anyHost()
		k.wantFree(h.h, h.lowest(), "after the last step")
		if k.Failed() {
			return
		}
	}
	for _, h := range k.hosts {
		k.takeDown(h)
	}
}

func (k *walker) logf(format string, args ...any) {
	k.log = append(k.log, fmt.Sprintf("\t"+format, args...))
}

// lowest is the lowest free port by the model.
func (h *walkHost) lowest() int {
	port := 1
	for h.ports[port] != nil {
		port++
	}
	return port
}

func (h *walkHost) addr(port int) string { return at(h.h, port) }

func (k *walker) anyHost() *walkHost { return k.hosts[k.rng.IntN(len(k.hosts))] }

// anyOf returns a random socket of type T that is there, or nil, by the order of host and port: so that a seed
// repeats.
func anyOf[T any](k *walker, ok func(*T) bool) *T {
	var all []*T
	for _, h := range k.hosts {
		var ports []int
		for port := range h.ports {
			ports = append(ports, port)
		}
		slices.Sort(ports)
		for _, port := range ports {
			if s, is := h.ports[port].(*T); is && ok(s) {
				all = append(all, s)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[k.rng.IntN(len(all))]
}

func (k *walker) listen() {
	h, port := k.anyHost(), k.rng.IntN(8)
	laddr := ":" + strconv.Itoa(port)
	k.logf("%s listens at %s", h.h.Name(), laddr)
	l, err := h.h.Listen(k.ctx, laddr)
	if port != 0 && h.ports[port] != nil {
		k.wantError("Listen", err, opError{"listen", "", h.addr(port), virtnet.ErrAddrAlreadyUsed})
		return
	}
	must(k.world, err)
	if port == 0 {
		port = h.lowest()
	}
	if got := l.Addr().String(); got != h.addr(port) {
		k.Errorf("listener is at %s, want %s", got, h.addr(port))
	}
	h.ports[port] = &walkListener{host: h, port: port, l: l}
}

func (k *walker) dialNobody() {
	src, dst, port := k.anyHost(), k.anyHost(), k.rng.IntN(12)
	if _, is := dst.ports[port].(*walkListener); is {
		return
	}
	k.logf("%s dials %s, where nobody listens", src.h.Name(), dst.addr(port))
	_, err := src.h.Dial(k.ctx, dst.addr(port))
	k.wantError("Dial", err, opError{"dial", src.addr(src.lowest()), dst.addr(port), virtnet.ErrConnRefused})
}

func (k *walker) connect() {
	l := anyOf(k, func(l *walkListener) bool { return l.waiting == nil })
	if l == nil {
		return
	}
	k.pair(k.anyHost(), l)
}

// pair connects src to l, and enters both ends into the model.
func (k *walker) pair(src *walkHost, l *walkListener) {
	k.logf("%s dials %s", src.addr(src.lowest()), l.l.Addr())
	dial := startDial(k.ctx, src.h, l.host.addr(l.port))
	accept := startAccept(k.ctx, l.l)
	c, d := dial.succeeds(k.world), accept.succeeds(k.world)
	k.enter(src, src.lowest(), c, l, d)
}

// enter enters a connection into the model, and checks its addresses. The dialler has its port first.
func (k *walker) enter(src *walkHost, port int, c net.Conn, l *walkListener, d net.Conn) {
	ce := &walkEnd{host: src, port: port, conn: c}
	src.ports[port] = ce
	de := &walkEnd{host: l.host, port: l.host.lowest(), conn: d, peer: ce}
	l.host.ports[de.port] = de
	ce.peer = de
	k.wantAddrs(c, ce.host.addr(ce.port), de.host.addr(de.port))
	k.wantAddrs(d, de.host.addr(de.port), ce.host.addr(ce.port))
}

func (k *walker) dialAndWait() {
	l := anyOf(k, func(l *walkListener) bool { return l.waiting == nil })
	if l == nil {
		return
	}
	src := k.anyHost()
	ctx, cancel := context.WithCancel(k.ctx)
	d := &walkDial{host: src, port: src.lowest(), to: l, cancel: cancel}
	k.logf("%s dials %s and waits", src.addr(d.port), l.l.Addr())
	d.call = startDial(ctx, src.h, l.host.addr(l.port))
	k.settle()
	src.ports[d.port] = d
	l.waiting = d
}

func (k *walker) accept() {
	d := anyOf(k, func(*walkDial) bool { return true })
	if d == nil {
		return
	}
	k.logf("%s accepts %s", d.to.l.Addr(), d.host.addr(d.port))
	accepted := startAccept(k.ctx, d.to.l).succeeds(k.world)
	dialled := d.call.succeeds(k.world)
	d.cancel()
	d.to.waiting = nil
	k.enter(d.host, d.port, dialled, d.to, accepted)
}

func (k *walker) cancelDial() {
	d := anyOf(k, func(*walkDial) bool { return true })
	if d == nil {
		return
	}
	k.logf("%s gives up", d.host.addr(d.port))
	d.cancel()
	k.ended(d, context.Canceled)
	d.to.waiting = nil
	k.settle() // until the listener has noticed
}

// ended checks how a dial that waited has failed, and takes it out of the model of its host.
func (k *walker) ended(d *walkDial, cause error) {
	d.call.fails(k.world, opError{"dial", d.host.addr(d.port), d.to.host.addr(d.to.port), cause})
	d.cancel()
	delete(d.host.ports, d.port)
}

func (k *walker) closeListener() {
	l := anyOf(k, func(*walkListener) bool { return true })
	if l == nil {
		return
	}
	k.logf("listener %s is closed", l.l.Addr())
	must(k.world, l.l.Close())
	if l.waiting != nil {
		k.ended(l.waiting, virtnet.ErrConnRefused)
	}
	delete(l.host.ports, l.port)
}

func (k *walker) closeEnd() {
	e := anyOf(k, func(*walkEnd) bool { return true })
	if e == nil {
		return
	}
	k.logf("connection %s is closed", e.host.addr(e.port))
	must(k.world, e.conn.Close())
	delete(e.host.ports, e.port)
	k.parted(e)
}

// parted checks that the peer of an end that is gone reads EOF.
func (k *walker) parted(e *walkEnd) {
	if e.peer == nil {
		return
	}
	if _, err := startRead(e.peer.conn).wait(k.world); err != io.EOF {
		k.Errorf("Read on %s: %q, want io.EOF", e.peer.host.addr(e.peer.port), errText(err))
	}
	e.peer.peer = nil
}

func (k *walker) ping() {
	e := anyOf(k, func(e *walkEnd) bool { return e.peer != nil })
	if e == nil {
		return
	}
	k.logf("%s and %s talk", e.host.addr(e.port), e.peer.host.addr(e.peer.port))
	wantPing(k.world, e.conn, e.peer.conn)
}

func (k *walker) restart() {
	h := k.anyHost()
	k.takeDown(h)
	h.sub = k.rng.IntN(len(k.subs))
	k.logf("%s is made on sub-network %d", h.h.Name(), h.sub)
	h.h = k.hostAgain(h.sub, h.h.Name())
}

// takeDown closes a host with everything on it.
func (k *walker) takeDown(h *walkHost) {
	k.logf("%s is closed", h.h.Name())
	must(k.world, h.h.Close())
	for len(h.ports) > 0 {
		for port, s := range h.ports {
			delete(h.ports, port)
			switch s := s.(type) {
			case *walkListener:
				if d := s.waiting; d != nil && d.host != h {
					k.ended(d, virtnet.ErrConnRefused)
				} else if d != nil {
					k.ended(d, virtnet.ErrHostDown)
				}
			case *walkDial:
				k.ended(s, virtnet.ErrHostDown)
				s.to.waiting = nil
			case *walkEnd:
				if s.peer != nil && s.peer.host == h {
					s.peer.peer = nil // both ends are gone
				} else {
					k.parted(s)
				}
			}
		}
	}
	k.settle() // until listeners elsewhere have noticed that diallers are gone
}
