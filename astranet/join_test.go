package astranet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/xnet"
)

// names is a DNS server of one name, whose addresses change.
type names struct {
	mu      sync.Mutex
	addrs   []string
	queries int
}

func (d *names) set(addrs ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addrs = addrs
}

// resolver asks the server, over pipes.
func (d *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go d.serve(far)
		return near, nil
	}}
}

// serve answers queries as over TCP: each has its length before it.
func (d *names) serve(c net.Conn) {
	defer c.Close()
	for {
		head := make([]byte, 2)
		if _, err := c.Read(head); err != nil {
			return
		}
		b := make([]byte, int(head[0])<<8|int(head[1]))
		if _, err := c.Read(b); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b) != nil {
			return
		}
		d.answer(&m)
		out, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append([]byte{byte(len(out) >> 8), byte(len(out))}, out...)); err != nil {
			return
		}
	}
}

func (d *names) answer(m *dnsmessage.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queries++
	m.Response, m.RecursionAvailable = true, true
	q := m.Questions[0]
	for _, a := range d.addrs {
		if q.Type == dnsmessage.TypeA {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(a).To4())},
			})
		}
	}
}

// Join links with the nodes at all addresses that a name has, and with new ones when it has other ones.
func TestJoinName(t *testing.T) {
	t.Parallel()
	first := newNode(t, astranet.Config{})
	if err := first.ListenAndServe("tcp", "127.0.0.2:0"); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(first.Addrs()[0].String())
	servers := []astranet.AstraNet{first}
	for _, ip := range []string{"127.0.0.3", "127.0.0.4"} {
		n := newNode(t, astranet.Config{})
		if err := n.ListenAndServe("tcp", ip+":"+port); err != nil {
			t.Fatal(err)
		}
		servers = append(servers, n)
	}
	var d names
	d.set("127.0.0.2", "127.0.0.3")
	c := newNode(t, astranet.Config{Resolver: d.resolver()})
	if err := c.Join("tcp", "nodes.test:"+port); err != nil {
		t.Fatal(err)
	}
	linked := func(which ...int) func() bool {
		return func() bool {
			var got []int
			for i, s := range servers {
				if len(astranet.LinksWith(c, s.ID())) > 0 {
					got = append(got, i)
				}
			}
			return slices.Equal(got, which)
		}
	}
	eventually(t, "links with the first two", linked(0, 1))
	d.set("127.0.0.3", "127.0.0.4")
	first.Close()
	eventually(t, "links with the others: the name is looked up again soon after a link is lost", linked(1, 2))
}

// A name that is not known, at first.
func TestJoinUnknownName(t *testing.T) {
	t.Parallel()
	s, addr := listening(t, astranet.Config{})
	_, port, _ := net.SplitHostPort(addr)
	var d names
	c := newNode(t, astranet.Config{Resolver: d.resolver()})
	err := c.Join("tcp", "nodes.test:"+port)
	if _, ok := errors.AsType[*net.DNSError](err); !ok || !strings.HasPrefix(err.Error(), "join tcp nodes.test:"+port+": lookup nodes.test") {
		t.Errorf("got %v, want one of the lookup", err)
	}
	d.set("127.0.0.1")
	eventually(t, "a link, once the name is known", func() bool { return len(astranet.LinksWith(c, s.ID())) == 1 })
}

// flaky is a network whose dials fail, and are counted.
type flaky struct {
	xnet.Networker
	mu    sync.Mutex
	times []time.Time
	ok    atomic.Bool
}

func (f *flaky) Dial(ctx context.Context, addr string) (net.Conn, error) {
	f.mu.Lock()
	f.times = append(f.times, time.Now())
	f.mu.Unlock()
	if !f.ok.Load() {
		return nil, errors.New("no way")
	}
	return f.Networker.Dial(ctx, addr)
}

// Join dials at times that grow to 5 s, no two nodes' the same, for ever; and soon again when a link that was there is lost.
func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, netem.Rules{})
		s := w.node("s", astranet.Config{})
		log := new(logText)
		f := &flaky{Networker: w.net.Host("c")}
		c := astranet.Config{Networks: []xnet.Networker{f}, Logger: slog.New(slog.NewTextHandler(log, nil))}.New()
		defer c.Close()
		begin := time.Now()
		if err := c.Join("pipet", "s:1"); err == nil || err.Error() != "join pipet s:1: no way" {
			t.Errorf("got %v", err)
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("Join returned after %v", d)
		}
		time.Sleep(time.Hour)
		f.mu.Lock()
		gaps := make([]time.Duration, 0, len(f.times))
		for i, at := range f.times[1:] {
			gaps = append(gaps, at.Sub(f.times[i]))
		}
		f.mu.Unlock()
		for i, gap := range gaps {
			most := min(50*time.Millisecond<<min(i, 20), 5*time.Second)
			if gap < most/2 || gap > most {
				t.Errorf("dial %d came after %v, want %v to %v", i+2, gap, most/2, most)
			}
		}
		if k := len(gaps); k < 720 || k > 1440 || slices.Max(gaps)-slices.Min(gaps[k/2:]) < time.Second {
			t.Errorf("%d dials in an hour; the later ones after %v to %v", k, slices.Min(gaps[k/2:]), slices.Max(gaps))
		}
		if n := strings.Count(log.String(), "no way"); n != 1 {
			t.Errorf("it was logged %d times why there is no link, want once:\n%.500s", n, log)
		}
		f.ok.Store(true)
		time.Sleep(10 * time.Second)
		if len(inUse(c, s)) != 1 {
			t.Fatal("no link, 10 s after dials work")
		}
		time.Sleep(time.Minute)
		w.em.Link("c", "s").Reset()
		time.Sleep(time.Second)
		if len(inUse(c, s)) != 1 {
			t.Error("no link again, a second after it was lost")
		}
	})
}

// One process after another has the id of the one before: the new one is linked at once, if the old one has closed its
// connections or does not answer any more, and the sessions of the old one end.
func TestRestart(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"crash", "vanish", "close"} {
		for _, ids := range [][2]uint64{{1, 2}, {2, 1}} {
			t.Run(fmt.Sprint(how, ", id ", ids[0]), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 1, netem.Rules{Latency: netem.Constant(10 * time.Millisecond)})
					s := w.node("s", astranet.Config{ID: ids[0]})
					bindEcho(t, s)
					c := w.node("c", astranet.Config{ID: ids[1]})
					if err := c.Join("pipet", "s:1"); err != nil {
						t.Fatal(err)
					}
					old, err := c.Dial("", "echo")
					if err != nil {
						t.Fatal(err)
					}
					switch how {
					case "crash":
						_ = w.em.Crash(w.net.Host("s"))
						_ = s.Close()
					case "vanish":
						_ = w.em.Vanish(w.net.Host("s"))
						_ = s.Close()
					case "close":
						_ = s.Close()
						_ = w.net.Host("s").Close()
					}
					next := w.node("s", astranet.Config{ID: ids[0]})
					bindEcho(t, next)
					begin := time.Now()
					if how == "vanish" { // the client does not know yet: the new process dials
						if err := next.Join("pipet", "c:1"); err != nil {
							t.Fatal(err)
						}
						if d := time.Since(begin); d > 1500*time.Millisecond {
							t.Errorf("linked after %v", d)
						}
					}
					wantEcho(t, c)
					if d := time.Since(begin); d > 2*time.Second {
						t.Errorf("dialled after %v", d)
					}
					_ = old.SetDeadline(time.Now().Add(time.Second))
					_, err = old.Write(make([]byte, 1))
					if err == nil {
						_, err = old.Read(make([]byte, 1))
					}
					if err == nil || isTimeout(err) {
						t.Errorf("the connection with the old process goes on: %v", err)
					}
				})
			})
		}
	}
}

// Two processes fight for one id: the one that is there stays, and the other is told.
func TestOneID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, netem.Rules{Latency: netem.Constant(10 * time.Millisecond)})
		s := w.node("s", astranet.Config{})
		first := w.node("a", astranet.Config{ID: 9})
		bindEcho(t, first)
		if err := first.Join("pipet", "s:1"); err != nil {
			t.Fatal(err)
		}
		number := inUse(s, first)[0].Number
		second := w.node("b", astranet.Config{ID: 9})
		err := second.Join("pipet", "s:1")
		if want := "join pipet s:1: the other node refuses the link: another process with the id AAAAAAAAAAk is linked"; errText(err) != want {
			t.Errorf("got error\n\t%v, want\n\t%s", err, want)
		}
		for range 3 {
			time.Sleep(time.Minute)
			wantEcho(t, s)
		}
		if l := inUse(s, first); len(l) != 1 || l[0].Number != number {
			t.Errorf("links %+v, want the first", l)
		}
		if err := first.Join("pipet", "b:1"); errText(err) != "join pipet b:1: this node refuses the link: both nodes have the id AAAAAAAAAAk" &&
			errText(err) != "join pipet b:1: the other node refuses the link: both nodes have the id AAAAAAAAAAk" {
			t.Errorf("got error %v", err)
		}
	})
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A node that joins itself is told so.
func TestJoinSelf(t *testing.T) {
	t.Parallel()
	n, addr := listening(t, astranet.Config{})
	want := "join tcp " + addr + ": this node refuses the link: it is linked with itself: the address is its own"
	if err := n.Join("tcp", addr); errText(err) != want {
		t.Errorf("got error\n\t%v, want\n\t%s", err, want)
	}
	if len(n.Routes()) != 0 || astranet.Peers(n) != 0 {
		t.Errorf("routes %v, %d nodes", n.Routes(), astranet.Peers(n))
	}
}

// One node at several addresses, joined at all of them: every Join returns, and there is one link.
func TestSeveralAddresses(t *testing.T) {
	t.Parallel()
	s, addr := listening(t, astranet.Config{})
	if err := s.ListenAndServe("ws", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	c := newNode(t, astranet.Config{})
	for range 2 {
		if err := c.Join("tcp", addr); err != nil {
			t.Error(err)
		}
		if err := c.Join("ws", s.Addrs()[1].String()); err != nil {
			t.Error(err)
		}
	}
	if l := inUse(c, s); len(l) != 1 || l[0].Remote != addr {
		t.Errorf("links %+v, want one with %s", l, addr)
	}
}

// Close ends a Join in progress at once, and so does its context.
func TestJoinGivenUp(t *testing.T) {
	t.Parallel()
	silent := says(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	n := newNode(t, astranet.Config{})
	err := n.JoinContext(ctx, "tcp", silent)
	if want := "join tcp " + silent + ": context deadline exceeded"; errText(err) != want || !isTimeout(err) {
		t.Errorf("got %v, want %s, a time-out", err, want)
	}
	joined := begin(func() (int, error) { return 0, n.Join("tcp", silent) })
	time.Sleep(20 * time.Millisecond)
	start := time.Now()
	n.Close()
	if _, err := joined.result(t); errText(err) != "join tcp "+silent+": node is closed" {
		t.Errorf("got %v", err)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("Close took %v", d)
	}
}
