//lint:file-ignore SA1019 net/http offers no way to serve one given connection, nor these settings of it

package peer

import (
	"context"
	"errors"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/virtnet/virtnet/bench/internal/carrier"
)

// openHTTP2 makes each stream a POST whose body and answer go on together.
func openHTTP2(c carrier.Carrier) (Net, error) {
	return overPair(c, func(client, server net.Conn) (ends, error) {
		h := &h2Server{incoming: make(chan net.Conn), noAccept: newNoAccept()}
		var wg sync.WaitGroup
		wg.Go(func() { h.serve(server) })
		stop := func() {
			h.close()
			server.Close()
			wg.Wait()
		}
		cc, err := (&http2.Transport{AllowHTTP: true, MaxReadFrameSize: 64 << 10}).NewClientConn(client)
		if err != nil {
			stop()
			return ends{}, err
		}
		return ends{
			dial:       func() (net.Conn, error) { return h2Dial(cc) },
			accept:     h.accept,
			acceptBack: h.AcceptBack,
			close: func() {
				cc.Close()
				stop()
			},
		}, nil
	})
}

// h2Server hands requests out as connections.
type h2Server struct {
	incoming chan net.Conn
	noAccept
}

func (h *h2Server) serve(c net.Conn) {
	s := &http2.Server{
		MaxConcurrentStreams:         math.MaxInt32,
		MaxReadFrameSize:             64 << 10,
		MaxUploadBufferPerStream:     4 << 20,
		MaxUploadBufferPerConnection: 1 << 30,
	}
	s.ServeConn(c, &http2.ServeConnOpts{
		Handler:    h,
		BaseConfig: &http.Server{ErrorLog: log.New(io.Discard, "", 0)},
	})
}

func (h *h2Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	done := make(chan struct{})
	c := &h2Accepted{
		h2Conn: h2Conn{r.Body},
		w:      w,
		ctl:    http.NewResponseController(w),
		done:   sync.OnceFunc(func() { close(done) }),
	}
	select {
	case h.incoming <- c:
	case <-h.closed:
		return
	}
	select {
	case <-done:
	case <-h.closed:
	}
	c.end() // w must not be used once this has returned
}

func (h *h2Server) accept() (net.Conn, error) {
	select {
	case c := <-h.incoming:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// h2Conn makes a net.Conn of what reads and writes.
type h2Conn struct{ io.Reader }

func (h2Conn) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (h2Conn) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
func (h2Conn) SetDeadline(t time.Time) error      { return errors.ErrUnsupported }
func (h2Conn) SetReadDeadline(t time.Time) error  { return errors.ErrUnsupported }
func (h2Conn) SetWriteDeadline(t time.Time) error { return errors.ErrUnsupported }

// h2Accepted is the server's end of a stream.
type h2Accepted struct {
	h2Conn
	done func()

	mu    sync.Mutex
	ended bool
	w     io.Writer
	ctl   *http.ResponseController
}

func (c *h2Accepted) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
}

// Write blocks end, but not for ever: it fails when the connection below is closed.
func (c *h2Accepted) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, net.ErrClosed
	}
	n, err := c.w.Write(p)
	if err != nil {
		return n, err
	}
	return n, c.ctl.Flush()
}

func (c *h2Accepted) Close() error {
	c.done()
	return nil
}

// h2Dialed is the client's end. Its answer is awaited by the first Read, so that data can go with the request.
type h2Dialed struct {
	h2Conn
	*io.PipeWriter // Write
	answer         *h2Answer
	cancel         context.CancelFunc
}

type h2Answer struct {
	ready chan struct{}
	body  io.ReadCloser // once ready
	err   error
}

func h2Dial(cc *http2.ClientConn) (net.Conn, error) {
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://bench/", r)
	if err != nil {
		cancel()
		return nil, err
	}
	a := &h2Answer{ready: make(chan struct{})}
	go func() {
		defer close(a.ready)
		resp, err := cc.RoundTrip(req)
		if err != nil {
			a.err = err
			r.CloseWithError(err)
			return
		}
		a.body = resp.Body
	}()
	return &h2Dialed{h2Conn{a}, w, a, cancel}, nil
}

func (a *h2Answer) Read(p []byte) (int, error) {
	<-a.ready
	if a.err != nil {
		return 0, a.err
	}
	return a.body.Read(p)
}

// Close ends the request's body. The answer, if it has not ended by then, is cancelled.
func (c *h2Dialed) Close() error {
	c.PipeWriter.Close()
	select {
	case <-c.answer.ready:
		if c.answer.body != nil {
			c.answer.body.Close()
		}
	default:
	}
	c.cancel()
	return nil
}
