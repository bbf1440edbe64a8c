package astranet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// A hostile node is a neighbour with a valid link that does with it what a node would not.
type hostile struct {
	*testing.T
	n, bad, good *node // the victim, the hostile node, and another neighbour
	link         *link // the hostile end
}

func beset(t *testing.T, bad uint64, f func(h *hostile)) {
	synctest.Test(t, func(t *testing.T) {
		h := &hostile{T: t, n: Config{ID: 2}.New().(*node), bad: Config{ID: bad}.New().(*node), good: Config{ID: 9}.New().(*node)}
		for _, n := range []*node{h.bad, h.good} {
			a, b := pipe.New(pipe.DefaultSize)
			go h.n.Attach(a)
			go n.Attach(b)
		}
		synctest.Wait()
		h.link = h.bad.peers[2].links[0]
		f(h)
		for _, n := range []*node{h.n, h.bad, h.good} {
			n.Close()
		}
	})
}

// echo binds a service of the victim's.
func (h *hostile) echo() {
	l, err := h.n.Bind("", "echo:7")
	if err != nil {
		h.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	synctest.Wait()
}

// served checks that the other neighbour is served, in that time at most.
func (h *hostile) served(within time.Duration) {
	h.Helper()
	begun := time.Now()
	c, err := h.good.DialTimeout("", "echo", time.Hour)
	if err != nil {
		h.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("hello"))
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); string(b) != "hello" || err != nil {
		h.Errorf("got %q, %v", b, err)
	}
	if took := time.Since(begun); took > within {
		h.Errorf("it took %v", took)
	}
}

// session opens a session with the victim by hand.
func (h *hostile) session(carry func(*mux.Stream) io.ReadWriteCloser) *mux.Session {
	h.Helper()
	st, err := h.link.open(h.Context(), streamTunnel)
	if err != nil {
		h.Fatal(err)
	}
	s, err := mux.Client(carry(st), h.bad.sessionConfig(nil))
	if err != nil {
		h.Fatal(err)
	}
	return s
}

func plain(st *mux.Stream) io.ReadWriteCloser { return st }

// Tunnels without number get a few sessions.
func TestHostileSessions(t *testing.T) {
	beset(t, 1, func(h *hostile) {
		h.echo()
		h.served(0)
		before := runtime.NumGoroutine()
		var all []*mux.Session
		for range 500 {
			all = append(all, h.session(plain))
		}
		synctest.Wait()
		p := h.n.peers[1]
		if len(p.sessions) > mostSessions || p.tunnels > mostBegun {
			h.Errorf("%d sessions, %d tunnels", len(p.sessions), p.tunnels)
		}
		alive := 0
		for _, s := range all {
			if s.Err() == nil {
				alive++
			}
		}
		if alive > mostBegun {
			h.Errorf("%d sessions are alive", alive)
		}
		h.served(0)
		for _, s := range all {
			_ = s.Close()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if p.tunnels != 0 || len(p.sessions) != 0 {
			h.Errorf("%d sessions, %d tunnels are left", len(p.sessions), p.tunnels)
		}
		if after := runtime.NumGoroutine(); after > before {
			h.Errorf("%d goroutines, before %d", after, before)
		}
	})
}

// Calls without number open one session, and end none.
func TestHostileCalls(t *testing.T) {
	beset(t, 3, func(h *hostile) {
		h.echo()
		c, err := h.bad.Dial("", "echo")
		if err != nil {
			h.Fatal(err)
		}
		for range 1000 {
			h.bad.mu.Lock()
			h.link.callLocked()
			h.bad.mu.Unlock()
			synctest.Wait()
		}
		if k := len(h.n.peers[3].sessions); k != 1 {
			h.Errorf("%d sessions", k)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			h.Error(err)
		}
		h.served(0)
	})
}

// Requests that are never completed cost a bounded number of goroutines, for a time, and delay nobody else's.
func TestHostileRequests(t *testing.T) {
	beset(t, 1, func(h *hostile) {
		h.echo()
		s := h.session(plain)
		before := runtime.NumGoroutine()
		flood := make(chan error, 1)
		go func() {
			for range 5000 {
				st, err := s.Open(h.Context())
				if err == nil {
					_, err = st.Write([]byte{kindDial})
				}
				if err != nil {
					flood <- err
					return
				}
			}
			flood <- nil
		}()
		synctest.Wait()
		if more := runtime.NumGoroutine() - before; more > mostRequests+20 {
			h.Errorf("%d goroutines more", more)
		}
		h.served(0)
		if err := <-flood; err != nil {
			h.Error(err)
		}
		time.Sleep(6 * answerPatience)
		synctest.Wait()
		if k := h.n.peers[1].sessions[0].mux.NumStreams(); k != 0 {
			h.Errorf("%d streams are left", k)
		}
		_ = s.Close()
	})
}

// One who announces more services than is sane loses the link, and both logs say why.
func TestHostileServices(t *testing.T) {
	for name, instance := range map[string]func(i int) ServiceId{
		"names":     func(i int) ServiceId { return ServiceId{Service: fmt.Sprint("svc", i), Port: 1} },
		"instances": func(i int) ServiceId { return ServiceId{Service: "svc", Port: uint32(1<<30 - i)} },
	} {
		t.Run(name, func(t *testing.T) {
			beset(t, 1, func(h *hostile) {
				h.echo()
				before := heap()
				h.bad.mu.Lock()
				for i := range mostServices + 1 {
					h.link.news[instance(i)] = true
				}
				h.link.wake.Signal()
				h.bad.mu.Unlock()
				for h.link.mux.Err() == nil {
					time.Sleep(time.Millisecond)
				}
				h.Logf("at most %d bytes for each service", (heap()-before)/mostServices)
				want := "the other node has ended the link: more than 65536 services, or than 4096 of one name"
				if err := h.link.why(); err == nil || err.Error() != want {
					h.Errorf("got %v, want %s", err, want)
				}
				synctest.Wait()
				if all := h.n.Services(); len(all) != 1 {
					h.Errorf("%d services are left", len(all))
				}
				h.served(0)
			})
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// stalled is a carrier that is not read.
type stalled struct{ *mux.Stream }

func (s stalled) Read([]byte) (int, error) {
	<-s.Session().Done()
	return 0, io.EOF
}

// One that dials and does not read keeps no Accept waiting for longer than a moment, once.
func TestHostileSilence(t *testing.T) {
	beset(t, 1, func(h *hostile) {
		l, err := h.n.Bind("", "flood:8")
		if err != nil {
			h.Fatal(err)
		}
		accepted := make(chan net.Conn, 1000)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					close(accepted)
					return
				}
				accepted <- c
				go func() {
					for b := make([]byte, 4<<10); ; {
						if _, err := c.Write(b); err != nil {
							return
						}
					}
				}()
			}
		}()
		s := h.session(func(st *mux.Stream) io.ReadWriteCloser { return stalled{st} })
		for range 16 { // more are not granted to who reads nothing
			st, err := s.Open(h.Context())
			if err != nil {
				h.Fatal(err)
			}
			if _, err := st.Write(request{port: 8, from: 1}.append(nil)); err != nil {
				h.Fatal(err)
			}
		}
		synctest.Wait()
		h.Logf("%d of 16 dials of the one that does not read are accepted", len(accepted))
		begun := time.Now()
		c, err := h.good.DialTimeout("", "flood", time.Hour)
		if err != nil {
			h.Fatal(err)
		}
		if took := time.Since(begun); took > time.Second {
			h.Errorf("another's dial took %v", took)
		}
		_ = c.Close()
	})
}

// A refusal's reason, which may be anything, is shown as it can be.
func TestHostileText(t *testing.T) {
	err := &NodeError{Host: 1, Err: ErrRefused, Reason: "\x1b[31mα \"no\"\n\xff"}
	if got, want := err.Error(), `node AAAAAAAAAAE: connection refused: \x1b[31mα "no"\n\xff`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s := quoteService(strings.Repeat("α", 99) + "\x00"); strings.ContainsRune(s, 0) || len(s) > 110 {
		t.Errorf("got %s", s)
	}
	if !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

// What a link has to tell is bounded by what there is, also if the neighbour takes nothing and services come and go.
func TestNewsBounded(t *testing.T) {
	n := newNode(settings{Config: Config{ID: 2}, announces: true})
	l := &link{node: n, peer: n.peerLocked(1, ""), up: true, news: make(map[ServiceId]bool)}
	l.wake.L = &n.mu
	n.peers[1].links = []*link{l}
	stays, err := n.Bind("", "stays")
	if err != nil {
		t.Fatal(err)
	}
	told := l.news
	l.news = make(map[ServiceId]bool)
	for range 1000 {
		c, err := n.Bind("", "comes")
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if len(told) != 1 || len(l.news) != 0 {
		t.Errorf("there are %d, then %d news", len(told), len(l.news))
	}
	_ = stays.Close()
	if len(l.news) != 1 {
		t.Errorf("there are %d news of one that has gone", len(l.news))
	}
	n.peers[1].links = nil
	_ = n.Close()
}

// What another link has told and not taken back is forgotten once the links that are left have told all; and what they tell of,
// too, is never missing meanwhile.
func TestStaleServices(t *testing.T) {
	n := newNode(settings{Config: Config{ID: 2}})
	_ = n.start()
	p := n.peerLocked(1, "")
	attach := func() *link {
		l := &link{node: n, peer: p, up: true, news: make(map[ServiceId]bool), known: make(map[ServiceId]struct{})}
		l.wake.L = &n.mu
		p.links = append(p.links, l)
		return l
	}
	hears := func(l *link, names ...string) {
		for _, name := range names {
			if err := l.heardOf(ServiceId{Service: name, Host: 1, Port: 70}, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(when string, names ...string) {
		t.Helper()
		var got []string
		for _, s := range n.Services() {
			got = append(got, s.Service)
		}
		if !slices.Equal(got, names) {
			t.Errorf("%s: got %v, want %v", when, got, names)
		}
	}
	first := attach()
	hears(first, "goes", "stays")
	first.heardAll()
	second := attach()
	p.removeLink(first)
	want("the first link has ended", "goes", "stays")
	hears(second, "stays")
	want("the second has begun", "goes", "stays")
	second.heardAll()
	want("the second has told all", "stays")
	third := attach()
	hears(third, "new", "stays")
	third.heardAll()
	p.removeLink(second)
	want("the second has ended", "new", "stays")
	p.removeLink(third)
	want("there is no link")
	_ = n.Close()
}
