package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/internal/needs"
	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/xnet/xhttp"
)

// serveTCP serves every connection at a port of its own until the test ends, and returns the address.
func serveTCP(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				serve(c.(*net.TCPConn))
			}()
		}
	}()
	return l.Addr().String()
}

// sorts is a server that answers when it has read all.
func sorts(c *net.TCPConn) {
	b, err := io.ReadAll(c)
	if err != nil {
		return
	}
	lines := strings.SplitAfter(string(b), "\n")
	slices.Sort(lines)
	io.WriteString(c, strings.Join(lines, ""))
}

// echoes is a server that sends back what comes as it comes.
func echoes(c *net.TCPConn) { io.Copy(c, c) }

// chain is a server's address on the network, and one that leads there.
type chain struct {
	expose, forward *proc
	listen          string // where clients connect
}

// newChain exposes target as www:80, and forwards to it.
func newChain(t *testing.T, target string, flags ...string) chain {
	t.Helper()
	var c chain
	c.expose = launch(t, append([]string{"lo", "expose", "tea", "www:80", target}, flags...)...)
	c.expose.until(eventReady)
	c.forward = launch(t, append([]string{"lo", "forward", "tea", "β", "0", "www:80"}, flags...)...)
	c.listen = c.forward.until(eventReady).Listen
	return c
}

// stop ends both, and looks whether anything is left.
func (c chain) stop(t *testing.T, tmp string) {
	t.Helper()
	c.forward.stop()
	c.expose.stop()
	noHosts(t, tmp)
	if _, err := net.Dial("tcp", c.listen); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial %s when forward has ended: %v", c.listen, err)
	}
}

// dialTCP connects to a forwarded port, for as long as the test runs.
func dialTCP(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c := must[net.Conn](t)(net.Dial("tcp", addr)).(*net.TCPConn)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// wantReset checks that a connection to addr is reset before anything comes.
func wantReset(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err == nil {
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		var b []byte
		if b, err = io.ReadAll(c); len(b) > 0 {
			t.Errorf("%s sent %q", addr, b)
		}
	}
	if !errors.Is(err, syscall.ECONNRESET) { // which may be there before the dial has returned
		t.Errorf("connection to %s: %v; want a reset", addr, err)
	}
}

// An unmodified server and an unmodified client find each other, and a program on the network finds the server.
func TestExposePython(t *testing.T) {
	python := needs.Program(t, "python3", "python")
	tmp := tempDir(t)
	dir := t.TempDir()
	data := random(6, 3<<20)
	if err := os.WriteFile(filepath.Join(dir, "file"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(python, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", dir, "0")
	out := must[io.ReadCloser](t)(server.StdoutPipe())
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	var port int
	if _, err := fmt.Fscanf(out, "Serving HTTP on 127.0.0.1 port %d", &port); err != nil {
		t.Fatal(err)
	}
	c := newChain(t, fmt.Sprintf(":%d", port))

	n, err := lonet.Join(t.Context(), "tea")
	if err != nil {
		t.Fatal(err)
	}
	γ, err := n.NewHost(t.Context(), "γ")
	if err != nil {
		t.Fatal(err)
	}
	client := xhttp.Client(γ)
	response, err := client.Get("http://www/file")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(response.Body); !bytes.Equal(got, data) || err != nil {
		t.Errorf("over the network came %d bytes, %v", len(got), err)
	}
	response.Body.Close()
	client.CloseIdleConnections()
	if e := c.expose.until(eventEnd); e.From != "γ:1" || e.At != "www:1" || e.To != fmt.Sprintf("127.0.0.1:%d", port) || e.Error != "" || *e.Received < int64(len(data)) {
		t.Errorf("expose tells of %+v", e)
	}
	n.Close()

	curl := needs.Program(t, "curl")
	got, err := exec.Command(curl, "-sS", "--noproxy", "*", "http://"+c.listen+"/file").Output()
	if !bytes.Equal(got, data) || err != nil {
		t.Errorf("curl got %d bytes, %v", len(got), err)
	}
	if e := c.forward.until(eventEnd); e.Via != "β:1" || e.At != c.listen || e.To != "www:80" || e.Accepted != "www:1" || e.Error != "" {
		t.Errorf("forward tells of %+v", e)
	}
	c.stop(t, tmp)
}

// 200 MB each way, at the same time, byte for byte.
func TestRelayBulk(t *testing.T) {
	size := 200 << 20
	if testing.Short() {
		size = 20 << 20
	}
	block := random(7, 1<<20)
	send := func(c *net.TCPConn, first byte) [32]byte {
		sum := sha256.New()
		block := append([]byte{first}, block[1:]...)
		for range size / len(block) {
			sum.Write(block)
			c.Write(block)
		}
		c.CloseWrite()
		return [32]byte(sum.Sum(nil))
	}
	receive := func(c *net.TCPConn) [32]byte {
		sum := sha256.New()
		if n, err := io.Copy(sum, c); n != int64(size) || err != nil {
			t.Errorf("%d bytes came, %v; want %d", n, err, size)
		}
		return [32]byte(sum.Sum(nil))
	}
	both := func(c *net.TCPConn, first byte) (sent, received [32]byte) {
		c.SetDeadline(time.Now().Add(4 * patience))
		var sending sync.WaitGroup
		sending.Go(func() { sent = send(c, first) })
		received = receive(c)
		sending.Wait()
		return sent, received
	}
	tmp := tempDir(t)
	type sums struct{ sent, received [32]byte }
	server := make(chan sums, 1)
	target := serveTCP(t, func(c *net.TCPConn) {
		sent, received := both(c, 's')
		server <- sums{sent, received}
	})
	c := newChain(t, target)
	start := time.Now()
	sent, received := both(dialTCP(t, c.listen), 'c')
	t.Logf("%d MB each way took %v", size>>20, time.Since(start))
	if s := <-server; s.received != sent || s.sent != received {
		t.Error("what came is not what was sent")
	}
	for _, p := range []*proc{c.forward, c.expose} {
		if e := p.until(eventEnd); *e.Sent != int64(size) || *e.Received != int64(size) || e.Error != "" {
			t.Errorf("it ended with %+v", e)
		}
	}
	c.stop(t, tmp)
}

// Half close through all of it: an answer that comes when the question has ended.
func TestRelayHalfClose(t *testing.T) {
	tmp := tempDir(t)
	c := newChain(t, serveTCP(t, sorts))
	conn := dialTCP(t, c.listen)
	io.WriteString(conn, "c\nb\na\n")
	conn.CloseWrite()
	if got := readAll(t, conn); string(got) != "a\nb\nc\n" {
		t.Errorf("through forward and expose: got %q", got)
	}

	dial := launch(t, "lo", "dial", "tea", "www:80")
	io.WriteString(dial.stdin, "z\ny\nx\n")
	dial.stdin.Close()
	if got := readAll(t, dial.stdout); string(got) != "x\ny\nz\n" {
		t.Errorf("through dial and expose: got %q", got)
	}
	dial.exits(exitOK, "")

	listen := launch(t, "lo", "listen", "tea", "γ:80")
	listen.until(eventReady)
	forward := launch(t, "lo", "forward", "tea", "δ", ":0", "γ:80")
	conn = dialTCP(t, forward.until(eventReady).Listen)
	io.WriteString(conn, "question")
	conn.CloseWrite()
	if got := readAll(t, listen.stdout); string(got) != "question" {
		t.Errorf("through forward and listen: got %q", got)
	}
	io.WriteString(listen.stdin, "answer")
	listen.stdin.Close()
	if got := readAll(t, conn); string(got) != "answer" {
		t.Errorf("back through listen and forward: got %q", got)
	}
	listen.exits(exitOK, "")
	forward.stop()
	c.stop(t, tmp)
}

// While the server is not there, connections are reset, and people hear of it once. When it is there again, it goes on.
func TestRelayRefused(t *testing.T) {
	tmp := tempDir(t)
	target := serveTCP(t, echoes)
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	free := l.Addr().String()
	l.Close()
	c := newChain(t, free)
	for range 2 {
		wantReset(t, c.listen)
		if e := c.expose.until(eventRefused); e.To != free || !strings.Contains(e.Error, "connection refused") || e.From != "β:1" {
			t.Errorf("expose tells of %+v", e)
		}
		if e := c.forward.until(eventEnd); !strings.Contains(e.Error, "connection reset by peer") {
			t.Errorf("forward tells of %+v", e)
		}
	}
	c.expose.stop()
	wantReset(t, c.listen)
	if e := c.forward.until(eventRefused); e.To != "www:80" || !strings.Contains(e.Error, `no such host; "virtnet lo ls tea" lists`) {
		t.Errorf("forward tells of %+v", e)
	}
	c.expose = launch(t, "lo", "expose", "tea", "www:80", target)
	c.expose.until(eventReady)
	conn := dialTCP(t, c.listen)
	io.WriteString(conn, "hello")
	conn.CloseWrite()
	if got := readAll(t, conn); string(got) != "hello" {
		t.Errorf("when the server is there: got %q", got)
	}
	c.stop(t, tmp)
}

// Being told to end is the end in good order, and resets what there is.
func TestRelayInterrupted(t *testing.T) {
	skipWithoutSignals(t)
	tmp := tempDir(t)
	for _, test := range []struct {
		name string
		who  func(chain) *proc
	}{
		{"expose", func(c chain) *proc { return c.expose }},
		{"forward", func(c chain) *proc { return c.forward }},
	} {
		for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
			ended := make(chan error, 1)
			c := newChain(t, serveTCP(t, func(c *net.TCPConn) {
				io.WriteString(c, "hello")
				_, err := io.Copy(io.Discard, c)
				ended <- err
			}))
			conn := dialTCP(t, c.listen)
			if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			p := test.who(c)
			p.signal(sig)
			p.exits(exitOK, "")
			if e := p.until(eventEnd); e.Error != "interrupted" || *e.Received != 5 {
				t.Errorf("%s, %v: it ended with %+v", test.name, sig, e)
			}
			if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s, %v: the client got %v, want a reset", test.name, sig, err)
			}
			if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s, %v: the server got %v, want a reset", test.name, sig, err)
			}
			for _, p := range []*proc{c.expose, c.forward} {
				if p != test.who(c) {
					p.stop()
				}
			}
		}
	}
	noHosts(t, tmp)
}

// JSON that nobody reads any more ends the command.
func TestRelayNobodyReads(t *testing.T) {
	tempDir(t)
	r, w := must2[*os.File](t)(os.Pipe())
	p := launchWith(t, func(cmd *exec.Cmd) { cmd.Stdout = w }, "lo", "forward", "tea", "β", "0", "www:80")
	w.Close()
	line := make([]byte, 1<<10)
	n, err := r.Read(line) // the first event, "ready"
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(line[:n]), `"listen":"`)
	addr, _, _ := strings.Cut(rest, `"`)
	wantReset(t, addr) // of which there is to be told
	p.exits(exitFailed, "virtnet lo forward: the events could not be written: write /dev/stdout: ")
}

// No more than --max connections are there at once, and the next waits.
func TestRelayMax(t *testing.T) {
	tmp := tempDir(t)
	c := newChain(t, serveTCP(t, echoes), "--max", "2")
	conns := make([]*net.TCPConn, 3)
	for i := range conns {
		conns[i] = dialTCP(t, c.listen)
		io.WriteString(conns[i], "x")
	}
	for i := range 2 {
		if _, err := io.ReadFull(conns[i], make([]byte, 1)); err != nil {
			t.Error(err)
		}
	}
	conns[2].SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conns[2].Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the third connection does not wait: %v", err)
	}
	conns[0].Close()
	conns[2].SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(conns[2], make([]byte, 1)); err != nil {
		t.Errorf("the third connection, when the first has ended: %v", err)
	}
	c.stop(t, tmp)
}

// A server that listens on the other loopback address is found as well.
func TestExposeLoopback6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			io.WriteString(c, "hello")
			c.Close()
		}
	}()
	tmp := tempDir(t)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c := newChain(t, port)
	conn := dialTCP(t, c.listen)
	if got := readAll(t, conn); string(got) != "hello" {
		t.Errorf("got %q", got)
	}
	if e := c.expose.until(eventOpen); e.To != "127.0.0.1:"+port || e.Accepted != l.Addr().String() {
		t.Errorf("expose tells of %+v", e)
	}
	conn.Close()
	c.stop(t, tmp)
}

// Only this machine's programs can connect to a forwarded port, unless it is written out otherwise, and then that is said.
func TestForwardListen(t *testing.T) {
	tmp := tempDir(t)
	for _, test := range []struct {
		listen string
		want   string // where it listens
		open   bool
	}{
		{"0", "127.0.0.1:", false},
		{":0", "127.0.0.1:", false},
		{"localhost:0", "127.0.0.1:", false},
		{"127.0.0.1:0", "127.0.0.1:", false},
		{"0.0.0.0:0", "", true},
	} {
		p := launch(t, "lo", "forward", "tea", "β", test.listen, "www:80")
		e := p.until(eventReady)
		if !strings.HasPrefix(e.Listen, test.want) || e.Target != "www:80" || e.Host != "β" || e.Network != "tea" {
			t.Errorf("LISTEN %s: %+v", test.listen, e)
		}
		if test.open {
			if note := p.until(eventNote); !strings.Contains(note.Text, "other machines") {
				t.Errorf("LISTEN %s: %+v", test.listen, note)
			}
		}
		p.stop()
		if e, ok := <-p.events; ok {
			t.Errorf("LISTEN %s: there is another event: %+v", test.listen, e)
		}
	}
	noHosts(t, tmp)
}

// What people read who do not ask for JSON.
func TestRelayText(t *testing.T) {
	skipWithoutSignals(t)
	for _, verbose := range []bool{false, true} {
		tmp := tempDir(t)
		target := serveTCP(t, echoes)
		args := []string{"lo", "expose", "tea", "www:80", target}
		if verbose {
			args = append(args, "-v")
		}
		self := must[string](t)(os.Executable())
		cmd := exec.Command(self, args...)
		errOut := must[io.ReadCloser](t)(cmd.StderrPipe())
		var stdout bytes.Buffer
		cmd.Stdout = &stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		ready := fmt.Sprintf("virtnet lo expose: www:80 on network tea leads to %s\n", target)
		if got, err := io.ReadAll(io.LimitReader(errOut, int64(len(ready)))); string(got) != ready || err != nil {
			t.Fatalf("got %q, %v; want %q", got, err, ready)
		}
		dial := launch(t, "lo", "dial", "tea", "www:80", "--as", "β")
		io.WriteString(dial.stdin, "hello")
		dial.stdin.Close()
		dial.exits(exitOK, "")
		cmd.Process.Signal(os.Interrupt)
		got := string(readAll(t, errOut))
		want := ""
		if verbose {
			want = fmt.Sprintf("virtnet lo expose: #1 β:1 -> %s: open\nvirtnet lo expose: #1 β:1 -> %s: ended, 5 bytes sent, 5 received\n", target, target)
		}
		if err := cmd.Wait(); err != nil || got != want || stdout.Len() > 0 {
			t.Errorf("verbose %v: %v, stderr %q, want %q; stdout %q", verbose, err, got, want, &stdout)
		}
		noHosts(t, tmp)
	}
}

// A relay goes on when accepting fails for a while, and ends when it fails for good.
func TestRelayAccept(t *testing.T) {
	gone := errors.New("gone for good")
	errs := []error{syscall.EMFILE, &net.OpError{Op: "accept", Err: syscall.ECONNABORTED}, gone}
	r := &relay{max: 1, accept: func(context.Context) (net.Conn, error) {
		err := errs[0]
		errs = errs[1:]
		return nil, err
	}}
	if err := r.run(t.Context()); err != gone || len(errs) > 0 {
		t.Errorf("got %v with %d errors left, want %v", err, len(errs), gone)
	}
}

// A dial that lasts is given up.
func TestRelayDialTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &relay{dial: func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		start := time.Now()
		_, err := r.dialTo(t.Context())
		if took := time.Since(start); took != 30*time.Second || err.Error() != "context deadline exceeded after 30s" {
			t.Errorf("got %v after %v", err, took)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errInterrupted) })
		if _, err := r.dialTo(ctx); err != errInterrupted {
			t.Errorf("interrupted: got %v", err)
		}
	})
}

func must2[T any](t testing.TB) func(a, b T, err error) (T, T) {
	return func(a, b T, err error) (T, T) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
}
