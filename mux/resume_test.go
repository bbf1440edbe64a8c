package mux_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virtnet/virtnet/internal/pipe"
	"github.com/virtnet/virtnet/mux"
)

// long tells whether the long tests are wanted.
func long() bool { return os.Getenv("VIRTNET_TEST_LONG") != "" }

// A cutConn is a connection that fails on both ends once so many bytes have been read or written on this one.
type cutConn struct {
	net.Conn
	reads, writes atomic.Int64 // that are left
}

var errCut = errors.New("the carrier is cut")

func (c *cutConn) cut() {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Conn.Close()
}

func (c *cutConn) Read(p []byte) (n int, err error) {
	left := c.reads.Load()
	if left <= 0 {
		c.cut()
		return 0, errCut
	}
	n, err = c.Conn.Read(p[:min(int64(len(p)), left)])
	c.reads.Add(int64(-n))
	return n, err
}

func (c *cutConn) Write(p []byte) (n int, err error) {
	left := c.writes.Load()
	if left <= 0 {
		c.cut()
		return 0, errCut
	}
	n, err = c.Conn.Write(p[:min(int64(len(p)), left)])
	c.writes.Add(int64(-n))
	if err == nil && n < len(p) {
		c.cut()
		err = errCut
	}
	return n, err
}

const never = 1 << 60

func newCutConn(c net.Conn, reads, writes int64) *cutConn {
	cc := &cutConn{Conn: c}
	cc.reads.Store(reads)
	cc.writes.Store(writes)
	return cc
}

// A rig is a session that can be resumed, whose client dials carriers that the test makes.
type rig struct {
	testing.TB
	pair           func() (a, b net.Conn)
	acceptor       *mux.Acceptor
	client, server *mux.Session

	mu      sync.Mutex
	wrap    func(a, b net.Conn) (c, d net.Conn) // of the next carriers
	dials   int
	serving sync.WaitGroup
}

// resumeConfig is one that does not wait for long.
func resumeConfig() *mux.Config {
	return &mux.Config{Resume: &mux.Resume{Grace: patience}}
}

// newRig makes a session. With dials the client gets its carriers itself. tune changes the configurations.
func newRig(t testing.TB, pair func() (a, b net.Conn), dials bool, tune func(client, server *mux.Config)) *rig {
	t.Helper()
	clientConfig, serverConfig := resumeConfig(), resumeConfig()
	if tune != nil {
		tune(clientConfig, serverConfig)
	}
	r := &rig{TB: t, pair: pair, acceptor: mux.NewAcceptor(serverConfig)}
	if dials {
		clientConfig.Resume.Dial = r.dial
	}
	a, b := pair()
	client, err := mux.Client(a, clientConfig)
	if err != nil {
		t.Fatal(err)
	}
	server, resumed, err := r.acceptor.Serve(context.Background(), b)
	if err != nil || resumed {
		t.Fatal(resumed, err)
	}
	r.client, r.server = client, server
	t.Cleanup(func() {
		client.Close()
		server.Close()
		r.serving.Wait()
		if sessions, waiting := r.acceptor.Known(); sessions+waiting > 0 {
			t.Errorf("the acceptor keeps %d sessions that have ended, %d as waiting for a carrier", sessions, waiting)
		}
		r.acceptor.Close()
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := client.Ping(ctx); err != nil { // then the keys are there
		t.Fatal(err)
	}
	return r
}

// dial makes a carrier whose other end the acceptor serves.
func (r *rig) dial(context.Context) (io.ReadWriteCloser, error) {
	a, b := r.pair()
	r.mu.Lock()
	r.dials++
	if r.wrap != nil {
		a, b = r.wrap(a, b)
	}
	r.mu.Unlock()
	r.serve(b)
	return a, nil
}

// calm gives the session a carrier that is not cut.
func (r *rig) calm() {
	r.Helper()
	r.mu.Lock()
	r.wrap = nil
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// The carrier of the client's own may come behind this one.
	for was := r.client.Stats().Resumed; r.client.Stats().Resumed == was; {
		a, _ := r.dial(ctx)
		if err := r.client.Resume(ctx, a); err != nil && ctx.Err() != nil {
			r.Errorf("no carrier works: %v", err)
			return
		}
	}
}

func (r *rig) serve(b net.Conn) {
	r.serving.Go(func() {
		s, resumed, err := r.acceptor.Serve(context.Background(), b)
		if err == nil && (!resumed || s != r.server) {
			r.Error("a resume has led to another session")
		}
	})
}

func bufferedPipe() (a, b net.Conn) { return pipe.New(pipe.DefaultSize) }

func tcpPairs(t testing.TB) func() (a, b net.Conn) {
	return func() (a, b net.Conn) { return tcpPair(t) }
}

// seeds returns the seeds of a test, the one of VIRTNET_TEST_SEED alone if it is set.
func seeds(t testing.TB, n int) (seeds []uint64) {
	if text := os.Getenv("VIRTNET_TEST_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	}
	for seed := range uint64(n) {
		seeds = append(seeds, seed)
	}
	return seeds
}

// A load is many streams with bytes in both directions, as a seed says.
type load struct {
	rig     *rig
	seed    uint64
	streams int
	size    int
	failed  atomic.Bool
}

func (l *load) failf(format string, args ...any) {
	if !l.failed.Swap(true) {
		l.rig.Errorf("seed %d: %s", l.seed, fmt.Sprintf(format, args...))
	}
}

// run runs the load to its end.
func (l *load) run() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for i, ends := range [][2]*mux.Session{{l.rig.client, l.rig.server}, {l.rig.server, l.rig.client}} {
		n := l.streams / 2
		wg.Go(func() {
			gate := make(chan bool, 100)
			var opens sync.WaitGroup
			defer opens.Wait()
			for k := range n {
				gate <- true
				opens.Go(func() {
					defer func() { <-gate }()
					l.open(ctx, ends[0], uint64(i*n+k))
				})
			}
		})
		wg.Go(func() {
			var accepts sync.WaitGroup
			defer accepts.Wait()
			for range n {
				st, err := ends[1].Accept(ctx)
				if err != nil {
					l.failf("accept: %v", err)
					return
				}
				accepts.Go(func() { l.accept(st) })
			}
		})
	}
}

// A conversation is what happens on one stream; both ends know it by its number.
type conversation struct {
	rnd         *rand.Rand
	there, back int // bytes
	ending      int
	code        uint64
}

const (
	endClose = iota
	endHalf  // the opener closes its direction first, and the other answers only then
	endReset // the opener resets when it has the other's bytes
	endStop  // the opener does not read
)

func (l *load) conversation(number uint64) *conversation {
	rnd := rand.New(rand.NewPCG(l.seed, number))
	return &conversation{rnd: rnd, there: rnd.IntN(l.size), back: rnd.IntN(l.size), ending: rnd.IntN(4), code: rnd.Uint64()}
}

// fill makes the bytes of one direction.
func (l *load) fill(number, direction uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], l.seed)
	binary.LittleEndian.PutUint64(key[8:], number)
	binary.LittleEndian.PutUint64(key[16:], direction)
	return rand.NewChaCha8(key)
}

// send writes n bytes in pieces, and returns their sum.
func (l *load) send(st *mux.Stream, number, direction uint64, n int) (err error) {
	sizes := rand.New(rand.NewPCG(l.seed, number^direction<<32))
	from := l.fill(number, direction)
	buf := make([]byte, 32<<10)
	for n > 0 {
		k := min(n, 1+sizes.IntN(1<<sizes.IntN(16)))
		_, _ = io.ReadFull(from, buf[:k])
		if _, err := st.Write(buf[:k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

func sum(r io.Reader, n int64) (string, int64, error) {
	h := hash.Hash(sha256.New())
	k, err := io.CopyN(h, r, n)
	return string(h.Sum(nil)), k, err
}

// expect reads n bytes, and checks their sum.
func (l *load) expect(st *mux.Stream, number, direction uint64, n int) bool {
	want, _, _ := sum(l.fill(number, direction), int64(n))
	got, k, err := sum(st, int64(n))
	if err != nil || got != want {
		l.failf("stream %d: read %d of %d bytes, %v; the sum is right: %v", st.ID(), k, n, err, got == want)
		return false
	}
	return true
}

func (l *load) expectEnd(st *mux.Stream, want func(error) bool) {
	var b [1]byte
	if n, err := st.Read(b[:]); n != 0 || !want(err) {
		l.failf("stream %d: read %d bytes and %v at its end", st.ID(), n, err)
	}
}

func isEOF(err error) bool { return err == io.EOF }

func (l *load) open(ctx context.Context, s *mux.Session, number uint64) {
	st, err := s.Open(ctx)
	if err != nil {
		l.failf("open: %v", err)
		return
	}
	defer st.Close()
	c := l.conversation(number)
	var first [8]byte
	binary.BigEndian.PutUint64(first[:], number)
	if _, err := st.Write(first[:]); err != nil {
		l.failf("write: %v", err)
		return
	}
	if c.ending == endStop {
		st.CloseRead()
		if err := l.send(st, number, 1, c.there); err != nil {
			l.failf("write: %v", err)
		}
		return
	}
	sent := make(chan error, 1)
	go func() {
		err := l.send(st, number, 1, c.there)
		if c.ending == endHalf {
			err = errors.Join(err, st.CloseWrite())
		}
		sent <- err
	}()
	ok := l.expect(st, number, 2, c.back)
	if err := <-sent; err != nil {
		l.failf("write: %v", err)
	}
	if !ok {
		return
	}
	switch c.ending {
	case endReset:
		l.expectByte(st)
		st.Reset(c.code)
	default:
		l.expectEnd(st, isEOF)
	}
}

// expectByte waits until the other end has all.
func (l *load) expectByte(st *mux.Stream) {
	var b [1]byte
	if _, err := io.ReadFull(st, b[:]); err != nil {
		l.failf("stream %d: %v", st.ID(), err)
	}
}

func (l *load) accept(st *mux.Stream) {
	defer st.Close()
	var first [8]byte
	if _, err := io.ReadFull(st, first[:]); err != nil {
		l.failf("read: %v", err)
		return
	}
	number := binary.BigEndian.Uint64(first[:])
	c := l.conversation(number)
	switch c.ending {
	case endStop:
		if !l.expect(st, number, 1, c.there) {
			return
		}
		l.expectEnd(st, isEOF)
		var stopped *mux.StreamError
		if _, err := st.Write([]byte("x")); !errors.As(err, &stopped) || !stopped.Remote || !stopped.Stop {
			l.failf("stream %d: write to who does not read: %v", st.ID(), err)
		}
		return
	case endHalf:
		if !l.expect(st, number, 1, c.there) {
			return
		}
		l.expectEnd(st, isEOF)
		if err := l.send(st, number, 2, c.back); err != nil {
			l.failf("write: %v", err)
		}
		return
	}
	sent := make(chan error, 1)
	go func() { sent <- l.send(st, number, 2, c.back) }()
	ok := l.expect(st, number, 1, c.there)
	if err := <-sent; err != nil {
		l.failf("write: %v", err)
	}
	if !ok {
		return
	}
	if c.ending == endReset {
		if _, err := st.Write([]byte("x")); err != nil {
			l.failf("write: %v", err)
		}
		l.expectEnd(st, func(err error) bool {
			return errors.Is(err, &mux.StreamError{Code: c.code, Remote: true})
		})
	}
}

// TestCuts cuts carriers, while streams begin, carry bytes and end in all ways: at random bytes, and a third of them exactly at
// a boundary of frames. The long test goes on until 10,000 were cut, a third of them of each kind of carrier.
func TestCuts(t *testing.T) {
	t.Parallel()
	carriers := []struct {
		name string
		pair func() (a, b net.Conn)
	}{
		{"pipe", bufferedPipe},
		{"net.Pipe", net.Pipe},
		{"tcp", tcpPairs(t)},
	}
	n, streams, size, least := 3, 60, 100<<10, uint64(0)
	if long() {
		n, streams, least = 1000, 1000, 10_000/3+1
	}
	for _, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			t.Parallel()
			cuts, dials, aligned := uint64(0), 0, 0
			for _, seed := range seeds(t, n) {
				n, m, k := cutLoad(t, carrier.pair, seed, streams, size)
				cuts += n
				dials += m
				aligned += k
				if t.Failed() || least > 0 && cuts >= least {
					break
				}
			}
			t.Logf("%d resumes, %d carriers, %d cut at a boundary", cuts, dials, aligned)
			if aligned == 0 {
				t.Error("no carrier was cut at a boundary")
			}
		})
	}
}

// cutLoad runs a load, and returns how often its session was resumed, how many carriers it had for that, and how many of these
// were cut at a boundary of frames.
func cutLoad(t *testing.T, pair func() (a, b net.Conn), seed uint64, streams, size int) (resumes uint64, dials, aligned int) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	r := newRig(t, framePairs(pair), true, nil)
	defer r.serving.Wait()
	var ends []*frameConn
	// A carrier lives for some bytes: few, as in a handshake, or as many as come in a moment.
	r.wrap = func(a, b net.Conn) (net.Conn, net.Conn) {
		most := int64(200)
		if rnd.IntN(4) > 0 {
			most = int64(streams * size / 300)
		}
		left := budgets(rnd.IntN(4), rnd.Int64N(most))
		if rnd.IntN(3) == 0 {
			c, d := a.(*frameConn), b.(*frameConn)
			c.reads, c.writes, d.reads, d.writes = left[0], left[1], left[2], left[3]
			c.at = boundary(rnd.IntN(int(boundaryKinds)))
			d.at = c.at
			ends = append(ends, c, d)
			return c, d
		}
		return newCutConn(a, left[0], left[1]), newCutConn(b, left[2], left[3])
	}
	a, b := r.wrap(r.pair())
	r.serve(b)
	if err := r.client.Resume(context.Background(), a); err != nil {
		t.Logf("seed %d: first move: %v", seed, err)
		r.client.Resume(context.Background(), must(r.dial(context.Background())))
	}
	l := &load{rig: r, seed: seed, streams: streams, size: size}
	l.run()
	for _, s := range []*mux.Session{r.client, r.server} {
		if err := s.Check(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	r.mu.Lock()
	resumes, dials = r.client.Stats().Resumed, r.dials
	r.mu.Unlock()
	r.calm()
	r.client.Close()
	select {
	case <-r.server.Done():
	case <-time.After(patience):
		t.Errorf("seed %d: the server's end goes on", seed)
	}
	r.server.Close()
	for _, c := range ends {
		if c.isCut.Load() {
			aligned++
		}
	}
	return resumes, dials, aligned
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
