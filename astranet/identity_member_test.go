package astranet_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/astranet"
)

// A node that claims the id of another is refused and reported, by whoever knows the other one, which does not notice. The name decides: a
// process of the same name that claims the id is refused too, as long as the first one answers.
func TestStolenID(t *testing.T) {
	t.Parallel()
	mesh := namedCA(t, "mesh")
	s, owner := enrol(t, mesh, "s", 0), enrol(t, mesh, "owner", 0)
	cs, js := journaled(astranet.Config{Credentials: s.creds})
	node, addr := listening(t, cs)
	o := newNode(t, astranet.Config{Credentials: owner.creds, ID: 4})
	if err := o.Join("tcp", addr); err != nil {
		t.Fatal(err)
	}
	client, server := pair(t, node, o, "svc")
	for _, x := range []struct{ name, want, logged string }{
		{"thief", "the id AAAAAAAAAAQ is known as that of owner (AAAAAAAAAAQ)", "two nodes have one id id=AAAAAAAAAAQ known=owner other=thief"},
		{"owner", "another process with the id AAAAAAAAAAQ is linked", ""},
	} {
		c, jc := journaled(astranet.Config{Credentials: enrol(t, mesh, x.name, 0).creds, ID: 4})
		thief := newNode(t, c)
		if _, err := thief.Bind("", "svc"); err != nil {
			t.Fatal(err)
		}
		err := thief.Join("tcp", addr)
		if want := "join tcp " + addr + ": the other node refuses the link: " + x.want; errText(err) != want {
			t.Errorf("Join says\n\t%v, want\n\t%s", err, want)
		}
		js.want(t, "why=this node refuses the link: "+x.want)
		if x.logged != "" {
			js.want(t, x.logged)
		}
		if n := jc.count("linked with"); n != 0 || len(node.Services()) != 0 {
			t.Errorf("it was linked: %d, %v", n, node.Services())
		}
	}
	stillCarries(t, client, server)
	if got := astranet.LinksWith(node, 4); len(got) != 1 || got[0].Number != 1 {
		t.Errorf("the owner's links are %v, want the first one", got)
	}
	if n := js.count("no longer linked"); n != 0 {
		t.Errorf("the owner was disturbed:\n%s", strings.Join(js.all(), "\n"))
	}
}

// Two processes with the certificate of one name are two nodes, of two ids, and two instances of their services.
func TestTwoOfOneName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mesh := namedCA(t, "mesh")
		web := enrol(t, mesh, "web", 0)
		joined(t, web, enrol(t, mesh, "c", 0), func(w *mesh2) {
			other := astranet.Config{ID: 3, Credentials: web.creds}.New()
			defer other.Close()
			a, b := net.Pipe()
			go other.Attach(a)
			go w.c.Attach(b)
			for _, n := range []astranet.AstraNet{w.s, other} {
				acceptAll(w.bind(n, "svc:80"))
			}
			synctest.Wait()
			if got := w.c.Services(); len(got) != 2 || got[0].Node != "web" || got[1].Node != "web" {
				t.Errorf("services %+v", got)
			}
			for _, id := range []uint64{1, 3} {
				c, err := w.c.Dial("", astranet.HostName(id)+":80")
				if err != nil {
					t.Fatal(err)
				}
				if a := c.RemoteAddr().(*astranet.Addr); a.Node != "web" || a.Host != id {
					t.Errorf("dialled %+v", a)
				}
			}
		})
	})
}

// middle is somebody between a node and those who dial an address: each connection is what change makes of it.
func middle(t *testing.T, to string, change func(c, s net.Conn)) (addr string, done func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				s, err := net.Dial("tcp", to)
				if err != nil {
					return // the node is closed, and a Join has come once more
				}
				defer s.Close()
				change(c, s)
			})
		}
	})
	return l.Addr().String(), func() { l.Close(); work.Wait() }
}

// record reads one TLS record.
func record(r io.Reader) []byte {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil
	}
	b := make([]byte, int(head[3])<<8|int(head[4]))
	_, _ = io.ReadFull(r, b)
	return append(head, b...)
}

// splice passes on what is left, until both ends have closed.
func splice(c, s net.Conn) {
	var both sync.WaitGroup
	for _, p := range [][2]net.Conn{{c, s}, {s, c}} {
		both.Go(func() {
			_, _ = io.Copy(p[0], p[1])
			_ = p[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}

// Who is between two nodes can keep them apart, and no more.
func TestManInTheMiddle(t *testing.T) {
	t.Parallel()
	mesh := namedCA(t, "mesh")
	var taped []byte // the first record of another link
	for _, x := range []struct {
		name       string
		change     func(c, s net.Conn)
		join, want string // what the ends say; nothing for a link
	}{
		{"passes on", splice, "", ""},
		{"strips TLS", func(c, s net.Conn) {
			_, _ = s.Write(plainHello)
			_, _ = c.Write(plainHello)
			splice(c, s)
		}, "the other node refuses the link: it speaks no TLS: it has no Credentials, and this node has", "this node refuses the link: the other end speaks no TLS"},
		{"an older version", func(c, s net.Conn) {
			hello := record(c)
			if i := bytes.Index(hello, []byte{0, 43, 0, 3, 2, 3, 4}); i > 0 {
				hello[i+6] = 3 // TLS 1.2 is all that is offered
			}
			_, _ = s.Write(hello)
			splice(c, s)
		}, "the other end does not speak TLS 1.3 as nodes do (tls: protocol version not supported)", "the other end does not speak TLS 1.3"},
		{"another protocol", func(c, s net.Conn) {
			_, _ = s.Write(bytes.Replace(record(c), []byte("astranet/1"), []byte("astranet/0"), 1))
			splice(c, s)
		}, `the other end is no node: it speaks TLS, but not "astranet/1" in it`, `the other end is no node: it speaks TLS, but not "astranet/1" in it`},
		{"changes the key", func(c, s net.Conn) {
			hello := record(c)
			hello[len(hello)-1] ^= 1
			_, _ = s.Write(hello)
			splice(c, s)
		}, "TLS has failed, as if somebody on the way had changed what passed: local error: tls: bad record MAC", "TLS has failed, as if somebody on the way had changed what passed: local error: tls: bad record MAC"},
		{"changes what is encrypted", func(c, s net.Conn) {
			_, _ = s.Write(record(c))
			_, _ = c.Write(record(s))
			_, _ = c.Write(record(s)) // change cipher spec
			b := record(s)
			b[len(b)-1] ^= 1
			_, _ = c.Write(b)
			splice(c, s)
		}, "TLS has failed, as if somebody on the way had changed what passed: local error: tls: bad record MAC", "TLS has failed, as if somebody on the way had changed what passed: remote error: tls: bad record MAC"},
		{"replays another's first flight", func(c, s net.Conn) {
			mine := record(c)
			if taped == nil {
				taped = mine
			}
			_, _ = s.Write(taped)
			splice(c, s)
		}, "", ""},
		{"replays another's first flight again", func(c, s net.Conn) {
			_ = record(c)
			_, _ = s.Write(taped)
			splice(c, s)
		}, "TLS has failed, as if somebody on the way had changed what passed: tls: server did not echo the legacy session ID", "TLS has failed, as if somebody on the way had changed what passed: local error: tls: bad record MAC"},
		{"cuts off", func(c, s net.Conn) {
			_, _ = s.Write(record(c)[:100])
		}, "the other end has closed the connection before it was a link: unexpected EOF", "the other end has closed the connection before it was a link: unexpected EOF"},
	} {
		t.Run(x.name, func(t *testing.T) {
			cs, js := journaled(astranet.Config{Credentials: enrol(t, mesh, "s", 0).creds, HandshakeTimeout: 2 * time.Second})
			s, addr := listening(t, cs)
			between, done := middle(t, addr, x.change)
			c := newNode(t, astranet.Config{Credentials: enrol(t, mesh, "c", 0).creds, HandshakeTimeout: 2 * time.Second})
			err := c.Join("tcp", between)
			if x.join == "" {
				if err != nil {
					t.Error(err)
				}
			} else {
				said := strings.TrimPrefix(errText(err), "join tcp "+between+": ")
				if said != x.join {
					t.Errorf("Join says\n\t%s, want\n\t%s", said, x.join)
				}
				js.want(t, "why="+x.want)
				if n := len(s.Routes()) + len(c.Routes()); n != 0 {
					t.Errorf("they are linked: %d", n)
				}
			}
			c.Close()
			s.Close()
			done()
		})
	}
}

// plainHello is the hello and verdict of a node without credentials.
var plainHello = []byte("astranet\x01\x01\x00\x18\x00\x01\x00\x08\x00\x00\x00\x00\x00\x00\x00\x07\x00\x02\x00\x08\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00")

// A member that announces what it likes: names that it may not bind are passed over, and it is told only of itself; more than a node may
// have ends the link, and leaves nothing.
func TestHostileMember(t *testing.T) {
	t.Parallel()
	mesh := namedCA(t, "mesh")
	rules := &astranet.Rules{Allow: true, List: []astranet.Rule{
		{Allow: true, Do: astranet.BindAction, From: "bank", Service: "accounts*"},
		{Do: astranet.BindAction, Service: "accounts*"},
	}}
	cs, js := journaled(astranet.Config{ID: 1, Credentials: enrol(t, mesh, "s", 0).creds, Rules: rules})
	s, addr := listening(t, cs)
	bank := newNode(t, astranet.Config{ID: 2, Credentials: enrol(t, mesh, "bank", 0).creds})
	evil := newNode(t, astranet.Config{ID: 3, Credentials: enrol(t, mesh, "evil", 0).creds})
	for _, n := range []astranet.AstraNet{bank, evil} {
		if err := n.Join("tcp", addr); err != nil {
			t.Fatal(err)
		}
	}
	l, err := bank.Bind("", "accounts:80")
	if err != nil {
		t.Fatal(err)
	}
	acceptAll(l)
	eventually(t, "the bank's service", func() bool { return len(s.Services()) == 1 })

	// Another's: the frame has no room for whose it is, so it is the sender's, which may not have it.
	astranet.Announce(evil, 1, astranet.ServiceId{Service: "accounts", Host: 2, Port: 80, Node: "bank"})
	js.want(t, "There may be others service=accounts node=evil (AAAAAAAAAAM)")
	astranet.Announce(evil, 1, astranet.ServiceId{Service: "accounts.prod", Port: 81},
		astranet.ServiceId{Service: "mine", Host: 2, Port: 82, Node: "bank"}, astranet.ServiceId{Service: "two\nlines", Port: 83},
		astranet.ServiceId{Service: "a:b", Port: 84}, astranet.ServiceId{Service: strings.Repeat("x", 201), Port: 85},
		astranet.ServiceId{Service: strings.Repeat("x", 250), Port: 86}, astranet.ServiceId{Service: strings.Repeat("x", 255), Port: 87})
	eventually(t, "what it may have", func() bool {
		return slices.ContainsFunc(s.Services(), func(s astranet.ServiceId) bool { return s.Service == "mine" })
	})
	want := []astranet.ServiceId{{Service: "accounts", Host: 2, Port: 80, Node: "bank"}, {Service: "mine", Host: 3, Port: 82, Node: "evil"}}
	got := s.Services()
	slices.SortFunc(got, func(a, b astranet.ServiceId) int { return strings.Compare(a.Service, b.Service) })
	if !slices.Equal(got, want) {
		t.Errorf("services %+v, want %+v", got, want)
	}

	if n := js.count("a service is passed over"); n != 1 {
		t.Errorf("%d lines about what it may not have, want 1", n)
	}

	// A million that it may not bind leave nothing; a million others end the link.
	before := heap()
	for _, k := range []struct {
		format string
		ends   bool
	}{{"accounts-%d", false}, {"x%d", true}} {
		for i := range 20 {
			all := make([]astranet.ServiceId, 50000)
			for j := range all {
				all[j] = astranet.ServiceId{Service: fmt.Sprintf(k.format, i*len(all)+j), Port: uint32(100 + j)}
			}
			astranet.Announce(evil, 1, all...)
		}
		if !k.ends {
			astranet.Announce(evil, 1, astranet.ServiceId{Service: "last", Port: 99})
			eventually(t, "the last one", func() bool { return astranet.KnownOf(s, 3) == 2 })
			continue
		}
		why := "has ended the link: more than 65536 services, or than 4096 of one name"
		js.want(t, "no longer linked with=evil (AAAAAAAAAAM) why=this node "+why)
	}
	eventually(t, "nothing of it", func() bool { return astranet.KnownOf(s, 3) == 0 })
	evil.Close()
	if c, err := s.DialTimeout("", "accounts", patience); err != nil || c.RemoteAddr().(*astranet.Addr).Node != "bank" {
		t.Errorf("got %v, %v", c, err)
	}
	eventually(t, "memory", func() bool { runtime.GC(); return heap() < before+20<<20 })
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What a node says for people may be anything: it is shown so that it does no harm.
func TestOddReasons(t *testing.T) {
	t.Parallel()
	reason := "no\x1b[2Jway\n\"there\""
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write(append(append([]byte(nil), plainHello[:len(plainHello)-3]...), append([]byte{7, 0, byte(len(reason))}, reason...)...))
			go func() { defer c.Close(); _, _ = io.Copy(io.Discard, c) }()
		}
	}()
	n := newNode(t, astranet.Config{})
	err = n.Join("tcp", l.Addr().String())
	if want := "join tcp " + l.Addr().String() + `: the other node refuses the link: no\x1b[2Jway\n"there"`; errText(err) != want {
		t.Errorf("got\n\t%v, want\n\t%s", err, want)
	}
}

// An attached connection that is seen to come from another machine needs credentials, whatever it is made of.
func TestAttachElsewhere(t *testing.T) {
	t.Parallel()
	elsewhere := net.IPv4(192, 0, 2, 1)
	for _, a := range []net.Addr{&net.TCPAddr{IP: elsewhere, Port: 80}, &net.UDPAddr{IP: elsewhere, Port: 80}, &net.IPAddr{IP: elsewhere}} {
		c, j := journaled(astranet.Config{})
		n := newNode(t, c)
		near, far := net.Pipe()
		n.Attach(at{near, a})
		j.want(t, "an attached connection has ended why=permission denied to attach a connection with "+a.String()+
			": other machines could pretend to be anybody. Give the node Credentials, or set Insecure, in its Config")
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("it is not closed: %v", err)
		}
	}
}

type at struct {
	net.Conn
	remote net.Addr
}

func (c at) RemoteAddr() net.Addr { return c.remote }

// A link has one control stream: who opens a thousand gets the others back at once.
func TestControlStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mesh := namedCA(t, "mesh")
		joined(t, enrol(t, mesh, "s", 0), enrol(t, mesh, "c", 0), func(w *mesh2) {
			if n, err := astranet.OpenStreams(w.s, 2, 1, 1000); n != 0 || err != nil {
				t.Errorf("%d are open, %v", n, err)
			}
			acceptAll(w.bind(w.s, "svc"))
			if _, err := w.c.Dial("", "svc"); err != nil {
				t.Error(err)
			}
		})
	})
}
