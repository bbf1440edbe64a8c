package virtnet_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/xnet"
)

// An error on Ack cancels the acceptance: its port is free again, and Accept goes on to the next dial.
func TestAckError(t *testing.T) {
	for _, x := range []struct {
		name   string
		queued bool // the dials come before the Accept
	}{{"AcceptFirst", false}, {"DialFirst", true}} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, virtnet.Config{})
				β, l := f.listen("β")
				var accept *call[net.Conn]
				if !x.queued {
					accept = accepting(l)
					synctest.Wait()
				}
				dial := start(func() (*virtnet.Accept, error) {
					a, _, err := f.incoming(t.Context(), "β:1")
					return a, err
				})
				if x.queued {
					synctest.Wait()
					accept = accepting(l)
				}
				a := dial.succeeds(t)
				if got, want := a.Addr.String(), "β:2"; got != want {
					t.Errorf("accepted at %s, want %s", got, want)
				}
				f.wantFree(β, 3)
				if accept.ended() {
					t.Fatal("Accept has returned before the engine's word")
				}
				a.Ack <- errors.New("the dialler hung up")
				if accept.ended() {
					t.Fatal("Accept has returned for a dial that was cancelled")
				}
				f.wantFree(β, 2)

				a, c, err := f.incoming(t.Context(), "β:1")
				if err != nil {
					t.Fatal(err)
				}
				a.Ack <- nil
				conn := accept.succeeds(t)
				if got, want := conn.LocalAddr().String(), "β:2"; got != want {
					t.Errorf("LocalAddr = %s, want %s", got, want)
				}
				if got, want := conn.RemoteAddr().String(), "far:7"; got != want {
					t.Errorf("RemoteAddr = %s, want %s", got, want)
				}
				if conn.(*virtnet.Conn).NetConn() != c {
					t.Error("NetConn is not the connection of the dial that was accepted")
				}
			})
		})
	}
}

// A cancelled acceptance whose Accept call has been given up meanwhile ends that call.
func TestAckErrorAfterCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		_, l := f.listen("β")
		ctx, cancel := context.WithCancel(t.Context())
		accept := start(func() (net.Conn, error) { return l.Accept(ctx) })
		synctest.Wait()
		a, _, err := f.incoming(t.Context(), "β:1")
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if accept.ended() {
			t.Fatal("Accept is cancelled although it has taken a dial")
		}
		a.Ack <- errors.New("the dialler hung up")
		accept.fails(t, "accept fake β:1: context canceled")
	})
}

// A result beats a cancellation.
func TestAckAfterCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		_, l := f.listen("β")
		ctx, cancel := context.WithCancel(t.Context())
		accept := start(func() (net.Conn, error) { return l.Accept(ctx) })
		synctest.Wait()
		a, _, err := f.incoming(t.Context(), "β:1")
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		a.Ack <- nil
		accept.succeeds(t)
	})
}

// While the engine has not yet answered, whatever goes down ends Accept at once. The engine's word, when it
// comes, still decides who owns the carrier: after nil it is the core, which closes it.
func TestSlowAck(t *testing.T) {
	for _, x := range []struct {
		name string
		end  func(f *fake, h *virtnet.Host, l xnet.Listener)
		want string
	}{
		{"listener", func(_ *fake, _ *virtnet.Host, l xnet.Listener) { _ = l.Close() }, "accept fake β:1: socket is down"},
		{"host", func(_ *fake, h *virtnet.Host, _ xnet.Listener) { _ = h.Close() }, "accept fake β:1: host is down"},
		{"sub-network", func(f *fake, _ *virtnet.Host, _ xnet.Listener) { _ = f.SubNetwork.Close() }, "accept fake β:1: network is down"},
		{"network under it", func(f *fake, _ *virtnet.Host, _ xnet.Listener) { f.VNetDown(nil) }, "accept fake β:1: network is down"},
	} {
		for _, ack := range []error{nil, errors.New("the dialler hung up")} {
			for _, order := range []string{"AcceptFirst", "DialFirst"} {
				t.Run(x.name+"/"+strconv.FormatBool(ack == nil)+"/"+order, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { // which also finds goroutines that are left
						f := newFake(t, virtnet.Config{})
						h, l := f.listen("β")
						var accept *call[net.Conn]
						if order == "AcceptFirst" {
							accept = accepting(l)
							synctest.Wait()
						}
						var c *carrier
						dial := start(func() (a *virtnet.Accept, err error) {
							a, c, err = f.incoming(t.Context(), "β:1")
							return a, err
						})
						if order == "DialFirst" {
							synctest.Wait()
							accept = accepting(l)
						}
						a := dial.succeeds(t)
						x.end(f, h, l)
						if !accept.ended() {
							t.Fatal("Accept waits for the engine")
						}
						accept.fails(t, x.want)
						if c.isClosed() {
							t.Error("the carrier is closed while it is the engine's")
						}
						a.Ack <- ack
						synctest.Wait()
						if got, want := c.isClosed(), ack == nil; got != want {
							t.Errorf("after %v on Ack: carrier closed %v, want %v", ack, got, want)
						}
						if x.name == "listener" {
							f.wantFree(h, 1)
						}
					})
				})
			}
		}
	}
}

// The engine's word comes first, and the host goes down before Accept has got round to it.
func TestAckThenDown(t *testing.T) {
	for range 200 {
		f := newFake(t, virtnet.Config{})
		h, l := f.listen("β")
		accept := accepting(l)
		a, c, err := f.incoming(t.Context(), "β:1")
		if err != nil {
			t.Fatal(err)
		}
		a.Ack <- nil
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		conn, err := accept.wait(t)
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if !errors.Is(err, virtnet.ErrHostDown) {
			t.Errorf("error %v, want ErrHostDown", err)
		}
		select {
		case <-c.closed:
		case <-time.After(patience):
			t.Fatal("the carrier is not closed")
		}
	}
}

// Ack never blocks, whatever has become of the Accept call, and it has room for the one value.
func TestAckNeverBlocks(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	h, l := f.listen("β")
	var acks []*virtnet.Accept
	for i := range 100 {
		accept := accepting(l)
		a, _, err := f.incoming(t.Context(), "β:1")
		if err != nil {
			t.Fatal(err)
		}
		if cap(a.Ack) < 1 {
			t.Fatalf("capacity of Ack: %d", cap(a.Ack))
		}
		if i%2 == 0 { // an Accept that ends, and whose means serve again
			a.Ack <- nil
			accept.succeeds(t)
			continue
		}
		acks = append(acks, a)
	}
	_ = h.Close()
	for _, a := range acks {
		select {
		case a.Ack <- nil:
		default:
			t.Fatal("Ack blocks")
		}
	}
}

// A dial with a context that is done succeeds only where that takes no waiting.
func TestVNetAcceptCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{})
		_, l := f.listen("β")
		done, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := f.incoming(done, "β:1"); err != context.Canceled {
			t.Errorf("nobody accepts: %v, want context.Canceled", err)
		}
		accept := accepting(l)
		synctest.Wait()
		a, _, err := f.incoming(done, "β:1")
		if err != nil {
			t.Fatalf("an Accept waits: %v", err)
		}
		a.Ack <- nil
		accept.succeeds(t)
	})
}

// VNetAccept's errors are bare: they go to the dialler as they are.
func TestVNetAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{Backlog: 1})
		h, _ := f.listen("β")
		_, _, err := f.incoming(t.Context(), "γ:1")
		wantText(t, err, "address γ:1: no such host")
		var ae *net.AddrError
		if !errors.Is(err, virtnet.ErrNoHost) || !errors.As(err, &ae) || ae.Addr != "γ:1" {
			t.Errorf("%#v: want ErrNoHost and a *net.AddrError", err)
		}
		for _, port := range []string{"0", "2", "2147483647"} {
			_, _, err = f.incoming(t.Context(), "β:"+port)
			if err != virtnet.ErrConnRefused {
				t.Errorf("port %s: %v, want ErrConnRefused", port, err)
			}
		}
		for _, x := range []struct {
			end  func()
			want error
		}{
			{func() { _ = h.Close() }, virtnet.ErrConnRefused},
			{func() { _ = f.SubNetwork.Close() }, virtnet.ErrNetDown},
		} {
			dst := "β:1"
			if x.want == virtnet.ErrNetDown {
				dst = "δ:1"
				f.listen("δ")
			}
			waiting := start(func() (*virtnet.Accept, error) {
				a, _, err := f.incoming(context.Background(), dst)
				return a, err
			})
			synctest.Wait()
			if _, _, err := f.incoming(t.Context(), dst); err != virtnet.ErrConnRefused {
				t.Errorf("queue is full: %v, want ErrConnRefused", err)
			}
			x.end()
			if _, err := waiting.wait(t); err != x.want {
				t.Errorf("waiting dial: %v, want %v", err, x.want)
			}
		}
		if _, _, err := f.incoming(t.Context(), "β:1"); err != virtnet.ErrNetDown {
			t.Errorf("on a network that is down: %v, want ErrNetDown", err)
		}
	})
}

// With a negative backlog no dial waits.
func TestNoBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, virtnet.Config{Backlog: -1})
		h, l := f.listen("β")
		_, err := h.Dial(t.Context(), ":1")
		wantText(t, err, "dial fake β:2->β:1: connection refused")
		accept := accepting(l)
		synctest.Wait()
		if _, err := h.Dial(t.Context(), ":1"); err != nil {
			t.Error(err)
		}
		accept.succeeds(t)
	})
}

// Listening at a high port costs what it costs at a low one.
func TestListenIsCheap(t *testing.T) {
	f := newFake(t, virtnet.Config{})
	h := f.host("β")
	port := 50_000_000
	listen := func() {
		port += 1000 // nothing is there of the one before
		l, err := h.Listen(t.Context(), ":"+strconv.Itoa(port))
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	const rounds = 1000
	listen()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for range rounds {
		listen()
	}
	each := time.Since(began) / rounds
	runtime.ReadMemStats(&after)
	if bytes := (after.TotalAlloc - before.TotalAlloc) / rounds; bytes >= 1024 {
		t.Errorf("Listen(\":%d\") and Close allocate %d bytes, want less than 1 KiB", port, bytes)
	}
	// It takes one or two; the bound is for a busy machine and the race detector.
	if each > 200*time.Microsecond {
		t.Errorf("Listen(\":%d\") and Close take %v, want microseconds", port, each)
	}
	t.Logf("Listen and Close at a high port: %v, %d bytes", each, (after.TotalAlloc-before.TotalAlloc)/rounds)
}
