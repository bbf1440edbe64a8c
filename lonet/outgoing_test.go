package lonet_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
)

// These tests play the acceptor, byte by byte, for a dial of ours.

// fake makes host "fake" of network "t" one that is served by serve, on each connection in turn but those that ask
// whether it is there. serve gets the request that came; the connection is closed after it.
func (p *place) fake(serve func(c *net.TCPConn, request string)) {
	l := p.rawListen(0)
	p.setRow("fake", l.Addr().String())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			request, err := bufio.NewReader(c).ReadString('\n')
			switch {
			case err != nil:
			case strings.HasSuffix(request, ":0\"\n"): // the question whether anybody is there, of a dial that waits for long
				io.WriteString(c, `< lonet "lonett" E "connection refused"`+"\n")
			default:
				serve(c, request)
			}
			c.Close()
		}
	}()
	p.Cleanup(func() {
		l.Close()
		<-done
	})
}

// Whatever is answered ends the dial, at once, with an error that says what is wrong.
func TestBadAnswers(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	answer := make(chan string, 1)
	p.fake(func(c *net.TCPConn, request string) {
		if want := `> lonet "lonett" dial "β:1" "fake:1"` + "\n"; request != want {
			t.Errorf("the request is %q, want %q", request, want)
		}
		io.WriteString(c, <-answer)
	})
	osladdr := p.osladdr("fake")
	in := "lonet: connect " + osladdr + ": "
	for _, test := range []struct {
		answer, want string
		is           error
	}{
		{"garbage\n", in + "protocol error: invalid dial reply", nil},
		{"\x00\xff\n", in + "protocol error: invalid dial reply", nil},
		{`< lonet "lonett" foo "fake:2"` + "\n", in + "protocol error: invalid dial reply", nil},
		{`< lonet "lonett" connected "fake:2"` + "\r\n", in + "protocol error: invalid dial reply", nil},
		{strings.Repeat("x", 5000), in + "the line is too long", nil},
		{strings.Repeat("x", 1024), in + "the line is too long", nil},

		{`< lonet "lonetx" connected "fake:2"` + "\n", in + `protocol error: reply from network "lonetx"`, nil},
		{`< lonet "lonetx" E "connection refused"` + "\n", in + `protocol error: reply from network "lonetx"`, nil},
		{`< lonet "lonett" connected "other:2"` + "\n", in + `protocol error: accept address "other:2" is on another host`, nil},
		{`< lonet "lonett" connected "fake:0"` + "\n", in + `protocol error: accept address "fake:0" invalid`, nil},
		{`< lonet "lonett" connected "fake"` + "\n", in + `protocol error: accept address "fake" invalid`, nil},
		{`< lonet "lonett" connected "fake:-2"` + "\n", in + `protocol error: accept address "fake:-2" invalid`, nil},

		{`< lonet "lonett" E "connection refused"` + "\n", "connection refused", virtnet.ErrConnRefused},
		{`< lonet "lonett" E "address fake:1: no such host"` + "\n", "no such host", virtnet.ErrNoHost},
		{`< lonet "lonett" E "protocol error: network mismatch"` + "\n", in + "remote: protocol error: network mismatch", nil},
		{`< lonet "lonett" E "out of luck"` + "\n", in + "remote: out of luck", nil},

		// It ends before it has said anything, and has no mark of life.
		{``, `connection refused: the process of host "fake" (` + osladdr + `) is gone`, virtnet.ErrConnRefused},
		{`< lonet "lonett" conn`, `connection refused: the process of host "fake" (` + osladdr + `) is gone`, virtnet.ErrConnRefused},
	} {
		answer <- test.answer
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		c, err := β.Dial(ctx, "fake:1")
		cancel()
		if err == nil {
			t.Errorf("%.60q: the dial succeeded", test.answer)
			c.Close()
			continue
		}
		var oe *net.OpError
		if want := "dial lonett β:1->fake:1: " + test.want; err.Error() != want || !errors.As(err, &oe) {
			t.Errorf("%.60q:\n got %v\nwant %s", test.answer, err, want)
		}
		for _, cause := range []error{virtnet.ErrConnRefused, virtnet.ErrNoHost} {
			if errors.Is(err, cause) != (test.is == cause) {
				t.Errorf("%.60q: errors.Is(%v, %v) is wrong", test.answer, err, cause)
			}
		}
	}
}

// A dial that a live process drops without a reply, as one that it takes for a stranger, is made again, some times. It
// is not where nothing says that the process lives.
func TestDropped(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	var drops, dials atomic.Int32
	p.fake(func(c *net.TCPConn, _ string) {
		if dials.Add(1) <= drops.Load() {
			if dials.Load()%2 == 0 {
				c.SetLinger(0)
			}
			return
		}
		io.WriteString(c, `< lonet "lonett" connected "fake:2"`+"\n")
	})
	const refused = "connection refused"
	dial := func(marked bool, n int, wantDials int, want string) {
		t.Helper()
		drops.Store(int32(n))
		dials.Store(0)
		c, err := β.Dial(p.ctx, "fake:1")
		if err == nil {
			c.Close()
		}
		if got := int(dials.Load()); got != wantDials {
			t.Errorf("marked %v, dropped %d times: dialled %d times, want %d", marked, n, got, wantDials)
		}
		if want == "" && err != nil || want != "" && (!errors.Is(err, virtnet.ErrConnRefused) || !strings.HasSuffix(err.Error(), want)) {
			t.Errorf("marked %v, dropped %d times: error %v, want %q", marked, n, err, want)
		}
	}
	dial(false, 0, 1, "")
	dial(false, 1, 1, "is gone")

	osladdr := p.osladdr("fake")
	_, port, _ := strings.Cut(osladdr, ":")
	mark := flock.New(filepath.Join(filepath.Dir(p.path("t")), port+".live"))
	if ok, err := mark.TryLock(); !ok {
		t.Fatalf("the mark: %v", err)
	}
	defer mark.Unlock()
	for n := range lonet.Redials + 1 {
		dial(true, n, n+1, "")
	}
	dial(true, 100, 1+lonet.Redials, refused)

	// It obeys its context meanwhile.
	ctx, cancel := context.WithCancel(p.ctx)
	dials.Store(0)
	time.AfterFunc(5*time.Millisecond, cancel)
	if _, err := β.Dial(ctx, "fake:1"); !errors.Is(err, context.Canceled) || dials.Load() > lonet.Redials {
		t.Errorf("cancelled: error %v, after %d dials", err, dials.Load())
	}
}

// Payload that comes right behind the reply is kept, and the end of it too.
func TestPayloadBehindReply(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	payload := make(chan string, 1)
	heard := make(chan string, 1)
	p.fake(func(c *net.TCPConn, _ string) {
		io.WriteString(c, `< lonet "lonett" connected "fake:2"`+"\n"+<-payload)
		c.CloseWrite()
		all, _ := io.ReadAll(c)
		heard <- string(all)
	})
	for _, text := range []string{"", "\n", "hello", strings.Repeat("payload", 10000)} {
		for _, copy := range []bool{false, true} {
			payload <- text
			c := p.dial(β, "fake:1")
			if c.RemoteAddr().String() != "fake:2" {
				t.Errorf("connected to %v", c.RemoteAddr())
			}
			var got bytes.Buffer
			var err error
			if copy {
				_, err = io.Copy(&got, c)
			} else {
				_, err = got.ReadFrom(struct{ io.Reader }{c})
			}
			if err != nil || got.String() != text {
				t.Errorf("read %d bytes, %v, want %d", got.Len(), err, len(text))
			}
			io.WriteString(c, "bye")
			c.Close()
			if got := <-heard; got != "bye" {
				t.Errorf("the acceptor heard %q", got)
			}
		}
	}
}

// Where the server speaks first the connection is nonetheless the operating system's, whatever the port that accepts,
// and nothing of what it says is lost, or there twice.
func TestServerSpeaksFirst(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	hello := make(chan string, 1)
	p.fake(func(c *net.TCPConn, _ string) {
		io.WriteString(c, <-hello) // at once
	})
	want := func(c net.Conn, port int, text string) {
		t.Helper()
		if _, ok := c.(*virtnet.Conn).NetConn().(*net.TCPConn); !ok {
			t.Errorf("port %d: NetConn is a %T", port, c.(*virtnet.Conn).NetConn())
		}
		if got := c.RemoteAddr().(*virtnet.Addr).Port; got != port {
			t.Errorf("the port is %d, want %d", got, port)
		}
		c.SetDeadline(time.Now().Add(patience))
		if got, err := io.ReadAll(c); string(got) != text || err != nil {
			t.Errorf("port %d: heard %q, %v, want %q", port, got, err, text)
		}
	}
	for _, port := range []int{2, 23, 234, 2345, 23456, 1<<31 - 1} {
		for _, text := range []string{"", "\n", "220 hello\r\n", "0123456789 0123456789\n"} {
			hello <- fmt.Sprintf("< lonet \"lonett\" connected \"fake:%d\"\n%s", port, text)
			want(p.dial(β, "fake:1"), port, text)
		}
	}

	// So it is with ours.
	α := p.host("α")
	p.answer(α, "220 hello\r\n")
	for range 100 {
		c := p.dial(β, "α:1")
		want(c, c.RemoteAddr().(*virtnet.Addr).Port, "220 hello\r\n")
	}
}

// A reply that is spelt in another way is read with payload behind it, or not; none of that is lost.
func TestReplySpeltOtherwise(t *testing.T) {
	for _, spelt := range []string{
		"fake\u2028",                     // shorter than %q has it, in ASCII
		`\u0066\u0061\u006b\u0065\u2028`, // longer
	} {
		p := newPlace(t)
		β := p.host("β")
		p.fake(func(c *net.TCPConn, _ string) {
			io.WriteString(c, "< lonet \"lonett\" connected \""+spelt+":2\"\npayload")
		})
		p.setRow("fake\u2028", p.osladdr("fake"))
		c := p.dial(β, "fake\u2028:1")
		c.SetDeadline(time.Now().Add(patience))
		if got, err := io.ReadAll(c); string(got) != "payload" || err != nil {
			t.Errorf("%q: heard %q, %v", spelt, got, err)
		}
	}
}

// A dial that gets no answer obeys its context.
func TestSilentAcceptor(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	hold := make(chan struct{})
	requested := make(chan struct{}, 10)
	p.fake(func(*net.TCPConn, string) {
		requested <- struct{}{}
		<-hold
	})
	defer close(hold)

	late := obeys(t, context.DeadlineExceeded, func(ctx context.Context) error {
		_, err := β.Dial(ctx, "fake:1")
		return err
	})
	t.Logf("after its deadline the dial returned in %v", late)
}

// obeys calls f with contexts that end after a moment, and returns how much later f does, at best: the machine may
// be busy. That must be 50 ms at most, and f's error must be the context's.
func obeys(t testing.TB, want error, f func(ctx context.Context) error) time.Duration {
	t.Helper()
	const limit = 50 * time.Millisecond
	best := time.Hour
	for range 5 {
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		err := f(ctx)
		best = min(best, time.Since(start)-limit)
		cancel()
		var ne net.Error
		if !errors.Is(err, want) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("error %v, want %v, which is a timeout", err, want)
		}
	}
	if best > limit {
		t.Errorf("it returns %v after its context's end", best)
	}
	return best
}

// Nobody accepts what the system connects.
func TestDeafAcceptor(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	l := p.rawListen(0) // never accepts
	p.setRow("deaf", l.Addr().String())
	obeys(t, context.DeadlineExceeded, func(ctx context.Context) error {
		_, err := β.Dial(ctx, "deaf:1")
		return err
	})
	ctx, cancel := context.WithCancel(p.ctx)
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := β.Dial(ctx, "deaf:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

// Nobody is at the address, or the registry has none.
func TestNobodyThere(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	l := p.rawListen(0)
	addr := l.Addr().String()
	l.Close()
	p.setRow("nobody", addr)
	_, err := β.Dial(p.ctx, "nobody:1")
	if want := fmt.Sprintf(`dial lonett β:1->nobody:1: connection refused: the process of host "nobody" (%s) is gone`, addr); err == nil || err.Error() != want {
		t.Errorf(" got %v\nwant %s", err, want)
	}
	if !errors.Is(err, virtnet.ErrConnRefused) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v does not match", err)
	}
	for _, bad := range []string{"", "x", "10.0.0.1:80", "127.0.0.1:0", "localhost:80"} {
		p.setRow("bad", bad)
		_, err := β.Dial(p.ctx, "bad:1")
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", bad)) {
			t.Errorf("address %q: error %v", bad, err)
		}
	}
}
