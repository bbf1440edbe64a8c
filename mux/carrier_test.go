package mux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// duplex is a connection made of two pipes, as a program has with its standard input and output.
type duplex struct {
	io.Reader
	io.Writer
	closers []io.Closer
}

func (d duplex) Close() error {
	for _, c := range d.closers {
		c.Close()
	}
	return nil
}

func duplexPair() (a, b io.ReadWriteCloser) {
	r1, w1 := io.Pipe()
	r2, w2 := io.Pipe()
	return duplex{r1, w2, []io.Closer{r1, w2}}, duplex{r2, w1, []io.Closer{r2, w1}}
}

// rwcSessions returns the ends of a session over what may not be net.Conns.
func rwcSessions(t testing.TB, a, b io.ReadWriteCloser) (client, server *mux.Session) {
	t.Helper()
	client, err := mux.Client(a, nil)
	if err != nil {
		t.Fatal(err)
	}
	if server, err = mux.Server(b, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// exchange sends some bytes to and fro on a stream, and closes it.
func exchange(t testing.TB, client, server *mux.Session, size int) {
	t.Helper()
	c, s := streamPair(t, client, server)
	for _, x := range [][2]*mux.Stream{{c, s}, {s, c}} {
		write := beginWrite(x[0], text(size))
		wantPattern(t, x[1], 0, size)
		if err := write.wait(t); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	s.Close()
}

// A carrier need not be a net.Conn.
func TestNoConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := duplexPair()
		client, server := rwcSessions(t, a, b)
		for _, size := range []int{1, 1000, 10_000, 200_000} {
			exchange(t, client, server, size)
		}
		c, s := streamPair(t, client, server)
		for _, x := range []struct {
			addr net.Addr
			want string
		}{{c.LocalAddr(), "local"}, {c.RemoteAddr(), "remote"}, {server.LocalAddr(), "local"}} {
			if x.addr.Network() != "mux" || x.addr.String() != x.want {
				t.Errorf("got address %s %s, want mux %s", x.addr.Network(), x.addr, x.want)
			}
		}
		read := beginRead(c, 1)
		read.wantBlocked(t)
		write := beginWrite(s, text(1<<20))
		wantPattern(t, c, 1, 1<<20-1)
		read.want(t, text(1))
		write.want(t, 1<<20)
		c.SetDeadline(time.Now().Add(time.Second))
		read, write = beginRead(c, 1), beginWrite(c, text(1<<20))
		time.Sleep(time.Second)
		read.wantErr(t, "read", os.ErrDeadlineExceeded)
		write.wantErr(t, "write", os.ErrDeadlineExceeded)
		if err := client.CloseWithError(1, "bye"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if err := server.Err(); !errors.Is(err, &mux.SessionError{Code: 1, Remote: true}) {
			t.Errorf("got %v", err)
		}
	})
}

// No connection at all is an error.
func TestNoCarrier(t *testing.T) {
	for _, f := range []func(io.ReadWriteCloser, *mux.Config) (*mux.Session, error){mux.Client, mux.Server} {
		if s, err := f(nil, nil); s != nil || err == nil || err.Error() != "mux: no connection given" {
			t.Errorf("got %v, %v", s, err)
		}
	}
}

// stubborn is a carrier whose Read does not end when it is closed, as that of a program's standard input.
type stubborn struct {
	io.ReadWriteCloser
	read chan struct{}
}

func (s stubborn) Read(p []byte) (int, error) {
	<-s.read
	return 0, io.EOF
}

// Close does not wait for a carrier that doesn't end.
func TestStubbornCarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New(1 << 20)
		defer b.Close()
		carrier := stubborn{a, make(chan struct{})}
		s, err := mux.Client(carrier, nil)
		if err != nil {
			t.Fatal(err)
		}
		closed := beginErr(s.Close)
		time.Sleep(3 * time.Second)
		if !closed.returned() {
			t.Error("Close waits for the carrier")
		}
		close(carrier.read)
	})
}

// wrapped is a net.Conn that reads and writes in its own way.
type wrapped struct {
	net.Conn
	r io.Reader
	w io.Writer
}

func (c wrapped) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c wrapped) Write(p []byte) (int, error) { return c.w.Write(p) }

// crumbs writes few bytes at a time.
type crumbs struct {
	w    io.Writer
	size int
}

func (c crumbs) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = c.w.Write(p[n:min(len(p), n+c.size)])
		n += k
	}
	return n, err
}

// Carriers may read and write as little at once as they like.
func TestCrumbs(t *testing.T) {
	for _, x := range []struct {
		name string
		wrap func(c net.Conn) net.Conn
	}{
		{"one byte read", func(c net.Conn) net.Conn { return wrapped{c, iotest.OneByteReader(c), c} }},
		{"half read", func(c net.Conn) net.Conn { return wrapped{c, iotest.HalfReader(c), c} }},
		{"one byte written", func(c net.Conn) net.Conn { return wrapped{c, c, crumbs{c, 1}} }},
		{"13 bytes written", func(c net.Conn) net.Conn { return wrapped{c, c, crumbs{c, 13}} }},
		{"empty reads", func(c net.Conn) net.Conn { return wrapped{c, &hesitant{r: c}, c} }},
	} {
		for _, direct := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/direct %v", x.name, direct), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := pipe.New(pipe.DefaultSize)
					client, server := sessionsOn(t, x.wrap(a), x.wrap(b), nil, nil)
					if direct {
						mux.SetDirect(client)
						mux.SetDirect(server)
					}
					for _, size := range []int{1, 1023, 1024, 1025, 20_000} {
						exchange(t, client, server, size)
					}
					if err := client.CloseWithError(1, "bye"); err != nil {
						t.Error(err)
					}
					<-server.Done()
					if err := server.Err(); !errors.Is(err, &mux.SessionError{Code: 1, Remote: true}) {
						t.Errorf("got %v", err)
					}
				})
			})
		}
	}
}

// A carrier may return the last bytes together with the error.
func TestDataWithError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New(1 << 20)
		defer b.Close()
		last := bytes.NewReader(encode(fHello(), fOpen(2), fData(2, "data"), fClose(5, "last")))
		s, err := mux.Client(wrapped{a, iotest.DataErrReader(last), a}, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		if err := s.Err(); !errors.Is(err, &mux.SessionError{Code: 5, Remote: true}) {
			t.Errorf("got %v", err)
		}
		st, err := s.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantText(t, st, "data")
	})
}

// hesitant returns nothing and no error now and then, as a Reader may.
type hesitant struct {
	r io.Reader
	n int
}

func (h *hesitant) Read(p []byte) (int, error) {
	if h.n++; h.n%3 != 0 {
		return 0, nil
	}
	return h.r.Read(p)
}

// What breaks the contract of io.Reader or io.Writer ends the session.
func TestBrokenCarrier(t *testing.T) {
	for _, x := range []struct {
		name string
		wrap func(c net.Conn) net.Conn
		want error
	}{
		{"short write", func(c net.Conn) net.Conn { return wrapped{c, c, shortWriter{c}} }, io.ErrShortWrite},
		{"no progress", func(c net.Conn) net.Conn { return wrapped{c, nothingReader{}, c} }, io.ErrNoProgress},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pipe.New(pipe.DefaultSize)
				client, server := sessionsOn(t, x.wrap(a), b, nil, nil)
				<-client.Done()
				<-server.Done()
				if err := client.Err(); !errors.Is(err, x.want) {
					t.Errorf("got %v, want %v", err, x.want)
				}
			})
		})
	}
}

type shortWriter struct{ w io.Writer }

func (w shortWriter) Write(p []byte) (int, error) {
	n, _ := w.w.Write(p[:len(p)/2])
	return n, nil
}

type nothingReader struct{}

func (nothingReader) Read([]byte) (int, error) { return 0, nil }

// noDeadlines is a net.Conn that has no deadlines, as a channel of ssh has none.
type noDeadlines struct{ net.Conn }

var errNoDeadlines = errors.New("deadlines are not supported")

func (noDeadlines) SetDeadline(time.Time) error      { return errNoDeadlines }
func (noDeadlines) SetReadDeadline(time.Time) error  { return errNoDeadlines }
func (noDeadlines) SetWriteDeadline(time.Time) error { return errNoDeadlines }

// Streams have deadlines, and can be closed, also over a carrier without deadlines, whatever the other end does.
func TestCarrierWithoutDeadlines(t *testing.T) {
	for _, x := range []struct {
		name string
		end  func(st *mux.Stream)
		want error
	}{
		{"deadline", func(st *mux.Stream) { st.SetReadDeadline(time.Now().Add(time.Second)); time.Sleep(time.Second) }, os.ErrDeadlineExceeded},
		{"Close", func(st *mux.Stream) { st.Close() }, net.ErrClosed},
		{"CloseRead", func(st *mux.Stream) { st.CloseRead() }, net.ErrClosed},
		{"Session.Close", func(st *mux.Stream) { st.Session().Close() }, &mux.SessionError{}},
	} {
		for _, after := range []string{"nothing", "half of a payload", "pings"} {
			t.Run(x.name+" after "+after, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := pipe.New(1 << 20)
					defer b.Close()
					s, err := mux.Client(noDeadlines{a}, nil)
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					p := &peer{T: t, s: s, conn: b, client: true, ctx: context.Background()}
					p.greet()
					st := p.open(1)
					if after == "pings" {
						pingPong(p, st)
					}
					read := beginRead(st, 100_000)
					read.wantBlocked(t)
					if after == "half of a payload" {
						p.raw(encode(fData(st.ID(), text(50_000)))[:20_000])
						if read.returned() && read.v != "" {
							read = beginRead(st, 100_000)
						}
					}
					x.end(st)
					for read.returned() && read.err == nil && read.v != "" {
						read = beginRead(st, 100_000)
					}
					read.wantErr(t, "read", x.want)
				})
			})
		}
	}
}

// What has come can be read, though the frame that it came in is not complete.
func TestReadOfPartOfFrame(t *testing.T) {
	script(t, nil, func(t *testing.T, p *peer) {
		st := p.accept(1)
		for _, sizes := range [][2]int{{50_000, 100}, {50_000, 1500}, {50_000, 20_000}, {50_000, 49_999}, {500, 100}, {5000, 4990}} {
			p.drain()
			read := beginRead(st, 100_000)
			read.wantBlocked(t)
			b := encode(fData(st.ID(), text(sizes[0])))
			p.raw(b[:12+sizes[1]])
			got, err := read.result(t)
			if err != nil || got == "" || !strings.HasPrefix(text(sizes[1]), got) {
				t.Fatalf("got %d bytes, %v; want some of %d", len(got), err, sizes[1])
			}
			for n := len(got); n < sizes[1]; {
				more, err := beginRead(st, 100_000).result(t)
				if err != nil || more != string(pattern(n, len(more))) {
					t.Fatalf("got %d more bytes, %v", len(more), err)
				}
				n += len(more)
			}
			p.raw(b[12+sizes[1]:])
			wantPattern(t, st, sizes[1], sizes[0]-sizes[1])
		}
	})
}

// faulty is a carrier that fails after some bytes.
type faulty struct {
	*pipe.Conn
	reads, writes int  // how many bytes go before; -1 is all
	cut           bool // the other end notices too
}

var errFault = errors.New("a fault of the carrier")

func (c *faulty) fault() error {
	if c.cut {
		c.Conn.Reset()
	}
	return errFault
}

func (c *faulty) Read(p []byte) (int, error) {
	if c.reads < 0 {
		return c.Conn.Read(p)
	}
	if c.reads == 0 {
		return 0, c.fault()
	}
	n, err := c.Conn.Read(p[:min(len(p), c.reads)])
	c.reads -= n
	return n, err
}

func (c *faulty) Write(p []byte) (int, error) {
	if c.writes < 0 {
		return c.Conn.Write(p)
	}
	if len(p) <= c.writes {
		n, err := c.Conn.Write(p)
		c.writes -= n
		return n, err
	}
	n, _ := c.Conn.Write(p[:c.writes])
	c.writes -= n
	return n, c.fault()
}

// counting counts what goes through a carrier.
type counting struct {
	*pipe.Conn
	reads, writes int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.reads += n
	return n, err
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.writes += n
	return n, err
}

// shortScript is a short exchange of the two ends of a session, each of which returns its first error.
func shortScript(client, server *mux.Session) (errs [2]error) {
	ctx := context.Background()
	c := beginErr(func() error {
		st, err := client.Open(ctx)
		if err != nil {
			return err
		}
		defer st.Close()
		if _, err := st.Write([]byte("request")); err != nil {
			return err
		}
		if err := st.CloseWrite(); err != nil {
			return err
		}
		answer, err := io.ReadAll(st)
		if err == nil && !bytes.Equal(answer, pattern(0, 2000)) {
			err = fmt.Errorf("got an answer of %d bytes", len(answer))
		}
		if _, perr := client.Ping(ctx); err == nil {
			err = perr
		}
		st.Close()
		if serr := client.Shutdown(ctx); err == nil {
			err = serr
		}
		return err
	})
	s := beginErr(func() error {
		st, err := server.Accept(ctx)
		if err != nil {
			return err
		}
		defer st.Close()
		request, err := io.ReadAll(st)
		if err != nil {
			return err
		}
		if string(request) != "request" {
			return fmt.Errorf("got a request %q", request)
		}
		_, err = st.Write(pattern(0, 2000))
		return err
	})
	<-c.done
	<-s.done
	return [2]error{c.err, s.err}
}

// TestFaults has the carrier fail at every byte of a short exchange, in each direction, with and without the other end's
// noticing. Both ends come to an end, with an error that tells of it unless they were done, and nothing is left.
func TestFaults(t *testing.T) {
	var total [2]int
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.New(pipe.DefaultSize)
		c := &counting{Conn: a}
		client, server := sessionsOn(t, c, b, nil, nil)
		if errs := shortScript(client, server); errs != [2]error{} {
			t.Fatalf("without faults: %v", errs)
		}
		client.Close()
		server.Close()
		total = [2]int{c.reads, c.writes}
	})
	if total[0] < 2000 || total[1] < 60 {
		t.Fatalf("the exchange is %d bytes only", total)
	}
	for _, x := range []struct {
		name        string
		write, cut  bool
		direct      bool
		serverFails bool
	}{
		{"read", false, false, true, false},
		{"read, cut", false, true, false, false},
		{"write", true, false, true, false},
		{"write, copying", true, false, false, false},
		{"write, cut", true, true, true, false},
		{"server's write", true, true, true, true},
		{"server's read", false, true, true, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			size := total[0]
			if x.write != x.serverFails {
				size = total[1]
			}
			for at := 0; at < size; at++ {
				if at > 200 && at < size-200 && at%50 != 0 {
					continue // in the middle of a payload
				}
				synctest.Test(t, func(t *testing.T) {
					a, b := pipe.New(pipe.DefaultSize)
					f := &faulty{a, at, -1, x.cut}
					if x.write {
						f.reads, f.writes = -1, at
					}
					var client, server *mux.Session
					if x.serverFails {
						client, server = sessionsOn(t, b, f, nil, nil)
					} else {
						client, server = sessionsOn(t, f, b, nil, nil)
					}
					if x.direct {
						mux.SetDirect(client)
						mux.SetDirect(server)
					}
					errs := shortScript(client, server)
					faulted := client
					if x.serverFails {
						faulted = server
					}
					<-client.Done()
					<-server.Done()
					end := faulted.Err()
					if clean := !end.(*mux.SessionError).Protocol; !clean && !errors.Is(end, errFault) && !errors.Is(end, net.ErrClosed) {
						t.Errorf("at %d: got %v", at, end)
					}
					if closed := errors.Is(client.Err(), &mux.SessionError{}); closed && !x.serverFails && errs[0] != nil {
						t.Errorf("at %d: the client was closed and has %v", at, errs[0])
					}
					for _, s := range []*mux.Session{client, server} {
						if err := s.Check(); err != nil {
							t.Errorf("at %d: %v", at, err)
						}
					}
				})
			}
		})
	}
}
