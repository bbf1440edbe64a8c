package virtnettest

import (
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/net/nettest"

	"github.com/virtnet/virtnet"
)

var connClauses = []clause{{
	name: "ConnIsNetConn",
	why:  "connections pass golang.org/x/net/nettest.TestConn: they behave as those of package net do, under concurrent use and with deadlines",
	run:  testNettest,
	real: true,
}, {
	name: "ConnAddrs",
	why:  "the addresses of a connection are *virtnet.Addr, the same as long as it exists, and those of the two ends mirror each other",
	run:  testConnAddrs,
}, {
	name: "ConnHalfClose",
	why:  "after CloseWrite the other end reads io.EOF, and can still write back. (Where the carrier has no half close, CloseWrite matches errors.ErrUnsupported, and this is skipped.)",
	run:  testHalfClose,
}, {
	name: "ConnCarrier",
	why:  "NetConn gives access to the connection that the engine made",
	run:  testNetConn,
}, {
	name: "ConnZeroBytes",
	why:  "a Write of no bytes returns at once, whether or not somebody reads, and is not seen by the other end",
	run:  testZeroWrite,
}}

// wantPing checks that two ends are connected to each other, in both directions.
func wantPing(w *world, c, d net.Conn) {
	w.Helper()
	for _, x := range [][2]net.Conn{{c, d}, {d, c}} {
		sent := start("Write on "+x[0].LocalAddr().String(), func() (int, error) { return x[0].Write([]byte("ping")) })
		got := start("Read on "+x[1].LocalAddr().String(), func() (string, error) {
			buf := make([]byte, 4)
			_, err := io.ReadFull(x[1], buf)
			return string(buf), err
		}).succeeds(w)
		sent.succeeds(w)
		if got != "ping" {
			w.Errorf("read %q on %s, want what was written, \"ping\"", got, x[1].LocalAddr())
		}
	}
}

func testNettest(w *world) {
	nettest.TestConn(w.T, func() (c1, c2 net.Conn, stop func(), err error) {
		subs := w.net.New(w, len(w.subs))
		stop = func() { closeAll(w, subs, w.bubble) }
		var hosts []*virtnet.Host
		for i, name := range []string{"α", "β"} {
			h, err := subs[i%len(subs)].NewHost(w.ctx, name)
			if err != nil {
				stop()
				return nil, nil, nil, err
			}
			hosts = append(hosts, h)
		}
		l, err := hosts[1].Listen(w.ctx, ":1")
		if err == nil {
			c1, c2, err = connect(w.ctx, hosts[0], l)
		}
		if err != nil {
			stop()
			return nil, nil, nil, err
		}
		return c1, c2, stop, nil
	})
}

func testConnAddrs(w *world) {
	a, b := w.pair()
	c, d := w.connect(a, w.listen(b, ":1"))
	ca := virtnet.Addr{Net: w.network(), Host: "α", Port: 1}
	da := virtnet.Addr{Net: w.network(), Host: "β", Port: 2}
	for _, when := range []string{"", " after Close"} {
		for _, x := range []struct {
			name string
			got  net.Addr
			want virtnet.Addr
		}{
			{"LocalAddr of the end that dialled", c.LocalAddr(), ca},
			{"RemoteAddr of the end that dialled", c.RemoteAddr(), da},
			{"LocalAddr of the end that accepted", d.LocalAddr(), da},
			{"RemoteAddr of the end that accepted", d.RemoteAddr(), ca},
		} {
			if got, ok := x.got.(*virtnet.Addr); !ok || *got != x.want {
				w.Errorf("%s%s = %#v, want %#v", x.name, when, x.got, x.want)
			}
		}
		_ = c.Close()
		_ = d.Close()
	}
}

func testHalfClose(w *world) {
	a, b := w.pair()
	l := w.listen(b, ":1")
	for _, dialler := range []bool{true, false} {
		own, peer := w.connect(a, l)
		if !dialler {
			own, peer = peer, own
		}
		read := startRead(peer)
		w.settle()
		if !closeWrite(w, own) {
			w.Skip("the network has no half close: its carriers have no CloseWrite")
		}
		if _, err := read.wait(w); err != io.EOF {
			w.Errorf("Read when the other end has called CloseWrite: %q, want io.EOF, bare", errText(err))
		}
		if n, err := own.Write([]byte("x")); err == nil {
			w.Errorf("Write after CloseWrite: %d, nil, want an error", n)
		}
		answer := payload(100 << 10)
		sent := start("Write after the other end's CloseWrite", func() (int, error) { return peer.Write(answer) })
		got := start("reading the answer", func() ([]byte, error) {
			buf := make([]byte, len(answer))
			_, err := io.ReadFull(own, buf)
			return buf, err
		}).succeeds(w)
		sent.succeeds(w)
		wantBytes(w, got, answer)
		must(w, peer.Close())
		if _, err := startRead(own).wait(w); err != io.EOF {
			w.Errorf("Read when the other end is closed: %q, want io.EOF", errText(err))
		}
		must(w, own.Close())
		if err := own.(halfCloser).CloseWrite(); !errors.Is(err, net.ErrClosed) {
			w.Errorf("CloseWrite after Close: %q, want net.ErrClosed in it", errText(err))
		}
	}
}

type halfCloser interface{ CloseWrite() error }

// closeWrite half closes c, and tells whether it can be.
func closeWrite(w *world, c net.Conn) bool {
	w.Helper()
	hc, ok := c.(halfCloser)
	if !ok {
		return false
	}
	err := hc.CloseWrite()
	if errors.Is(err, errors.ErrUnsupported) {
		return false
	}
	must(w, err)
	return true
}

func testNetConn(w *world) {
	a, b := w.pair()
	c, d := w.connect(a, w.listen(b, ":1"))
	for _, conn := range []net.Conn{c, d} {
		nc, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			w.Fatalf("a %T has no NetConn", conn)
		}
		if carrier := nc.NetConn(); carrier == nil || carrier == conn {
			w.Errorf("NetConn returns %v", carrier)
		}
	}
}

func testZeroWrite(w *world) {
	a, b := w.pair()
	c, d := w.connect(a, w.listen(b, ":1"))
	for _, x := range [][2]net.Conn{{c, d}, {d, c}} {
		read := startRead(x[1])
		for range 2 {
			write := start("Write of no bytes", func() (int, error) { return x[0].Write(nil) })
			if n := write.succeeds(w); n != 0 {
				w.Errorf("Write of no bytes returns %d", n)
			}
		}
		w.settle()
		read.waits(w, "after a Write of no bytes")
		must(w, x[1].SetReadDeadline(past))
		if _, err := read.wait(w); err == nil {
			w.Error("Read after a Write of no bytes succeeds")
		}
		must(w, x[1].SetReadDeadline(time.Time{}))
		write := start("Write of no bytes that nobody reads", func() (int, error) { return x[0].Write([]byte{}) })
		write.succeeds(w)
	}
	wantPing(w, c, d)
}
