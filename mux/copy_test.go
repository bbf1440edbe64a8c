package mux_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/virtnet/virtnet/mux"
)

// io.Copy both ways, through streams only.
func TestCopy(t *testing.T) {
	for _, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			client, server := sessions(t, carrier.pair)
			c, s := streamPair(t, client, server)
			// The server sends back what comes, over another stream in between.
			c2, s2 := streamPair(t, client, server)
			var wg sync.WaitGroup
			relay := func(dst, src *mux.Stream) {
				wg.Go(func() {
					if n, err := io.Copy(dst, src); n != 3<<20 || err != nil {
						t.Errorf("io.Copy: %d, %v", n, err)
					}
					dst.CloseWrite()
				})
			}
			relay(s2, s)
			relay(s, s2)
			wg.Go(func() {
				io.Copy(c2, c2)
				c2.CloseWrite()
			})
			wg.Go(func() {
				if n, err := io.Copy(c, bytes.NewReader(pattern(0, 3<<20))); n != 3<<20 || err != nil {
					t.Errorf("io.Copy to a stream: %d, %v", n, err)
				}
				c.CloseWrite()
			})
			var got bytes.Buffer
			if n, err := io.Copy(&got, c); n != 3<<20 || err != nil || !bytes.Equal(got.Bytes(), pattern(0, 3<<20)) {
				t.Errorf("io.Copy from a stream: %d, %v", n, err)
			}
			wg.Wait()
		})
	}
}

// What ReadFrom and WriteTo return when one of their sides fails.
func TestCopyErrors(t *testing.T) {
	fault := errors.New("a fault")
	for _, x := range []struct {
		name string
		copy func(c, s *mux.Stream) (int64, error)
		n    int64
		want error
	}{
		{"source fails", func(c, _ *mux.Stream) (int64, error) {
			return c.ReadFrom(io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(fault)))
		}, 5, fault},
		{"source fails with data", func(c, _ *mux.Stream) (int64, error) {
			return c.ReadFrom(iotest.DataErrReader(io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(fault))))
		}, 5, fault},
		{"source is empty", func(c, _ *mux.Stream) (int64, error) { return c.ReadFrom(strings.NewReader("")) }, 0, nil},
		{"source hesitates", func(c, _ *mux.Stream) (int64, error) {
			return c.ReadFrom(&hesitant{r: strings.NewReader("12345")})
		}, 5, nil},
		{"stream is closed for writing", func(c, _ *mux.Stream) (int64, error) {
			c.CloseWrite()
			return c.ReadFrom(strings.NewReader("12345"))
		}, 0, net.ErrClosed},
		{"sink fails", func(c, s *mux.Stream) (int64, error) {
			s.Write([]byte("12345"))
			return c.WriteTo(&failing{left: 3, err: fault})
		}, 3, fault},
		{"sink is short", func(c, s *mux.Stream) (int64, error) {
			s.Write([]byte("12345"))
			return c.WriteTo(&failing{left: 3})
		}, 3, io.ErrShortWrite},
		{"stream is reset", func(c, s *mux.Stream) (int64, error) {
			s.Reset(6)
			return c.WriteTo(io.Discard)
		}, 0, &mux.StreamError{Code: 6, Remote: true}},
		{"stream ends", func(c, s *mux.Stream) (int64, error) {
			s.Write([]byte("12345"))
			s.CloseWrite()
			return c.WriteTo(io.Discard)
		}, 5, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			client, server := sessions(t, tcpPair)
			c, s := streamPair(t, client, server)
			n, err := x.copy(c, s)
			if n != x.n || !errors.Is(err, x.want) {
				t.Errorf("got %d, %v; want %d, %v", n, err, x.n, x.want)
			}
		})
	}
}

// failing takes some bytes, and then fails or just takes no more.
type failing struct {
	left int
	err  error
}

func (f *failing) Write(p []byte) (int, error) {
	n := min(len(p), f.left)
	f.left -= n
	if n < len(p) {
		return n, f.err
	}
	return n, nil
}

// A session serves HTTP: its Listener for the server, and its Open to dial with.
func TestHTTP(t *testing.T) {
	for _, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			client, server := sessions(t, carrier.pair)
			l := server.Listener()
			if l.Addr() == nil || l.Addr() != server.LocalAddr() {
				t.Errorf("the listener's address is %v, want %v", l.Addr(), server.LocalAddr())
			}
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				w.Write(body)
			}))
			srv.Listener.Close()
			srv.Listener = l
			srv.Start()
			transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return client.Open(ctx)
			}}
			defer transport.CloseIdleConnections()
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					size := 1 << (i % 20)
					resp, err := (&http.Client{Transport: transport}).Post("http://server/", "text/plain", bytes.NewReader(pattern(0, size)))
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					if body, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(body, pattern(0, size)) {
						t.Errorf("got %d bytes, %v; want %d", len(body), err, size)
					}
				})
			}
			wg.Wait()
			transport.CloseIdleConnections()
			srv.Close()
			<-server.Done()
			if c, err := l.Accept(); c != nil || !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept after the end: %v, %v", c, err)
			}
		})
	}
}
