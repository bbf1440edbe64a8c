package cli

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/cmd/virtnet/internal/proxy"
	"github.com/virtnet/virtnet/internal/needs"
	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/xnet"
)

// newVirtualHost makes a host of this process on the network tea, until the test ends.
func newVirtualHost(t *testing.T, name string) *virtnet.Host {
	t.Helper()
	n := must[*virtnet.SubNetwork](t)(lonet.Join(t.Context(), "tea"))
	t.Cleanup(func() { n.Close() })
	return must[*virtnet.Host](t)(n.NewHost(t.Context(), name))
}

// serveWeb serves HTTP on a host at a port, until the test ends.
func serveWeb(t *testing.T, host *virtnet.Host, port string, handler http.HandlerFunc) {
	t.Helper()
	l := must[xnet.Listener](t)(host.Listen(t.Context(), ":"+port))
	srv := &http.Server{Handler: handler}
	t.Cleanup(func() { srv.Close() })
	go srv.Serve(xnet.BindCtxL(l, t.Context()))
}

// saysWhere is a server that says where one has come to.
func saysWhere(rw http.ResponseWriter, r *http.Request) {
	addr := r.Context().Value(http.LocalAddrContextKey).(*virtnet.Addr)
	fmt.Fprintf(rw, "%s of %s", r.URL.Path, addr.Host)
}

// launchProxy launches a proxy on the network tea as β, and returns where it listens.
func launchProxy(t *testing.T, flags ...string) (*proc, string) {
	t.Helper()
	p := launch(t, append([]string{"lo", "proxy", "tea", "β", "--listen", "0"}, flags...)...)
	return p, p.until(eventReady).Listen
}

// proxyWays are the ways in which curl can use a proxy, with the code that it exits with when there is no connection.
var proxyWays = []struct {
	name   string
	flags  func(addr string) []string
	failed int
}{
	{"http", func(addr string) []string { return []string{"--proxy", "http://" + addr} }, 22},
	{"connect", func(addr string) []string { return []string{"--proxytunnel", "--proxy", "http://" + addr} }, 56},
	{"socks5", func(addr string) []string { return []string{"--proxy", "socks5h://" + addr} }, 97},
}

// curl returns the command that gets a URL, or fails with an error that shows.
func curl(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), needs.Program(t, "curl"), append([]string{"-sS", "--fail-with-body", "--max-time", "60"}, args...)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.Contains(strings.ToLower(v), "_proxy=") })
	return cmd
}

// exitsWith runs a command, and checks its exit code and output.
func exitsWith(t *testing.T, cmd *exec.Cmd, code int, want string) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(out.String(), want) {
		t.Errorf("%q: exit code %d, want %d; output %q, want %q; %s", cmd.Args[1:], got, code, &out, want, &errOut)
	}
}

func TestProxyCurl(t *testing.T) {
	skipWithoutSignals(t)
	tmp := tempDir(t)
	www, alpha := newVirtualHost(t, "www"), newVirtualHost(t, "α")
	for _, port := range []string{"80", "8080", "65535"} {
		serveWeb(t, www, port, saysWhere)
		serveWeb(t, alpha, port, saysWhere)
	}
	p, addr := launchProxy(t)
	for _, way := range proxyWays {
		for _, test := range []struct{ url, want string }{
			{"http://www/a", "/a of www"},
			{"http://www:8080/b", "/b of www"},
			{"http://α/c", "/c of α"},
			{"http://xn--mxa/d", "/d of α"},
			{"http://α:65535/e", "/e of α"},
		} {
			exitsWith(t, curl(t, append(way.flags(addr), test.url)...), 0, test.want)
			if e := p.until(eventEnd); e.Error != "" || e.Protocol != way.name || !strings.HasPrefix(e.Via, "β:") || *e.Received == 0 {
				t.Errorf("%s: told %+v", test.url, e)
			}
		}
		for _, test := range []struct{ url, want string }{
			{"http://www:81/", "connection refused: nobody listens at that port"},
			{"http://none/", "no such host; \"virtnet lo ls tea\" lists the hosts that there are"},
			{"http://β:81/", "connection refused"},
			{"http://127.0.0.1/", "an IP address is no name"},
		} {
			want := test.want
			if way.name != "http" { // where curl does not show why
				want = ""
			}
			exitsWith(t, curl(t, append(way.flags(addr), test.url)...), way.failed, want)
			if e := p.until(eventRefused); !strings.Contains(e.Error, test.want) {
				t.Errorf("%s: told %+v", test.url, e)
			}
		}
	}
	exitsWith(t, curl(t, "--proxy", "socks5://"+addr, "http://www/"), 97, "") // the names of which curl looks up
	exitsWith(t, curl(t, "--proxy", "socks4a://"+addr, "http://www/"), 97, "")
	exitsWith(t, curl(t, "http://"+addr+"/"), 22, "virtnet: this is a proxy")

	// A host whose very name is the encoded one wins.
	serveWeb(t, newVirtualHost(t, "xn--mxa"), "80", saysWhere)
	for _, way := range proxyWays {
		exitsWith(t, curl(t, append(way.flags(addr), "http://α/")...), 0, "/ of xn--mxa")
	}
	p.stop()
	if _, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial %s when the proxy has ended: %v", addr, err)
	}
	if _, stdout, _ := run("lo", "ls", "tea"); strings.Contains(stdout, "β") {
		t.Errorf("β is still there:\n%s", stdout)
	}
	if marks, _ := filepath.Glob(filepath.Join(tmp, "lonet", "tea", "*.live")); len(marks) != 3 {
		t.Errorf("marks of life: %q, want three", marks)
	}
}

// pages reads so many bytes that are the same for the same seed, and adds them to a sum.
func pages(seed byte, size int64) (r io.Reader, sum hash.Hash) {
	sum = sha256.New()
	return io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{seed}), size), sum), sum
}

// Much goes through as it is, both ways.
func TestProxyMuch(t *testing.T) {
	skipWithoutSignals(t)
	tempDir(t)
	size := int64(200 << 20)
	if testing.Short() {
		size = 20 << 20
	}
	sums := make(chan []byte, 1)
	serveWeb(t, newVirtualHost(t, "www"), "80", func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			sum := sha256.New()
			io.Copy(sum, r.Body)
			sums <- sum.Sum(nil)
			return
		}
		body, sum := pages('d', size)
		io.Copy(rw, body)
		sums <- sum.Sum(nil)
	})
	p, addr := launchProxy(t)
	for _, way := range proxyWays {
		got := sha256.New()
		down := curl(t, append(way.flags(addr), "http://www/")...)
		down.Stdout = got
		if err := down.Run(); err != nil {
			t.Fatalf("%s: %v", way.name, err)
		}
		if want := <-sums; !bytes.Equal(got.Sum(nil), want) {
			t.Errorf("%s: what was received has checksum %x, want %x", way.name, got.Sum(nil), want)
		}
		if e := p.until(eventEnd); *e.Received < size || e.Error != "" {
			t.Errorf("%s: told %+v", way.name, e)
		}

		body, sum := pages('u', size)
		up := curl(t, append(way.flags(addr), "--upload-file", "-", "http://www/")...)
		up.Stdin = body
		if err := up.Run(); err != nil {
			t.Fatalf("%s: %v", way.name, err)
		}
		if got := <-sums; !bytes.Equal(got, sum.Sum(nil)) {
			t.Errorf("%s: what was sent has checksum %x, want %x", way.name, got, sum.Sum(nil))
		}
		if e := p.until(eventEnd); *e.Sent < size || e.Error != "" {
			t.Errorf("%s: told %+v", way.name, e)
		}
	}
	p.stop()
}

// endlessly is a server that answers without end, and says when it cannot go on.
func endlessly(ended chan<- error) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		rw.Write(make([]byte, 1<<10))
		http.NewResponseController(rw).Flush()
		for {
			if _, err := rw.Write(make([]byte, 1<<10)); err != nil {
				ended <- err
				return
			}
		}
	}
}

// firstByte starts a command, and waits until it has printed something. The rest is thrown away, and then the end comes.
func firstByte(t *testing.T, cmd *exec.Cmd) (ended <-chan error) {
	t.Helper()
	out := must[io.ReadCloser](t)(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() {
		io.Copy(io.Discard, out)
		end <- cmd.Wait()
	}()
	return end
}

// Whichever of client, proxy and server is killed, the others hear of it, as of an error.
func TestProxyKilled(t *testing.T) {
	for _, way := range proxyWays {
		for _, victim := range []string{"client", "proxy", "server"} {
			t.Run(way.name+"/"+victim, func(t *testing.T) {
				skipWithoutSignals(t)
				tempDir(t)
				ended := make(chan error, 1)
				serveWeb(t, newVirtualHost(t, "other"), "80", endlessly(ended))
				url := "http://other/"
				var server *proc
				if victim == "server" { // one that has a process of its own
					server = launch(t, "lo", "expose", "tea", "www:80", serveTCP(t, func(c *net.TCPConn) {
						srv := http.Server{Handler: endlessly(ended)}
						one := newOneListener(c)
						srv.Serve(one)
					}))
					server.until(eventReady)
					url = "http://www/"
				}
				p, addr := launchProxy(t)
				client := curl(t, append(way.flags(addr), "--no-buffer", url)...)
				got := firstByte(t, client)
				switch victim {
				case "client":
					client.Process.Kill()
				case "proxy":
					p.cmd.Process.Kill()
				case "server":
					server.cmd.Process.Kill()
				}
				if err := <-ended; err == nil {
					t.Error("the server could go on")
				}
				err := <-got
				if code := client.ProcessState.ExitCode(); victim != "client" && code != 18 && code != 56 { // "partial file", "receive error"
					t.Errorf("curl: %v", err)
				}
				if victim != "proxy" {
					if e := p.until(eventEnd); e.Error == "" {
						t.Errorf("told %+v", e)
					}
					p.stop()
				}
			})
		}
	}
}

// oneListener accepts one connection, and then waits until that is closed.
type oneListener struct {
	net.Conn
	conns  chan net.Conn
	closed chan struct{}
}

func newOneListener(c net.Conn) *oneListener {
	l := &oneListener{Conn: c, conns: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conns <- l
	return l
}

func (l *oneListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneListener) Addr() net.Addr { return l.LocalAddr() }

func (l *oneListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return l.Conn.Close()
}

func TestProxyListen(t *testing.T) {
	skipWithoutSignals(t)
	tempDir(t)
	serveWeb(t, newVirtualHost(t, "www"), "80", saysWhere)

	p, addr := launchProxy(t)
	if host, _, _ := net.SplitHostPort(addr); host != "127.0.0.1" {
		t.Errorf("it listens at %s, want the loopback interface", addr)
	}
	code, _, stderr := run("lo", "proxy", "tea", "γ", "--listen", addr)
	if want := "address already in use: choose another port, or 0 for one that is free\n"; code != exitFailed || !strings.HasSuffix(stderr, want) {
		t.Errorf("a second one there: exit code %d, stderr %q", code, stderr)
	}
	code, _, stderr = run("lo", "proxy", "tea", "β", "--listen", "0")
	if want := "virtnet lo proxy: host β is already on network tea: "; code != exitFailed || !strings.HasPrefix(stderr, want) {
		t.Errorf("a second β: exit code %d, stderr %q", code, stderr)
	}
	p.stop()

	p = launch(t, "lo", "proxy", "lonettea", "β", "-l", "0.0.0.0:0")
	addr = p.until(eventReady).Listen
	if e := p.until(eventNote); e.Text != "programs on other machines can connect to "+addr+", and then are on the network" {
		t.Errorf("told %+v", e)
	}
	_, port, _ := net.SplitHostPort(addr)
	exitsWith(t, curl(t, "--proxy", "http://127.0.0.1:"+port, "http://www/"), 0, "/ of www")
	p.stop()
}

func TestProxyUnix(t *testing.T) {
	skipWithoutSignals(t)
	tempDir(t)
	serveWeb(t, newVirtualHost(t, "www"), "80", saysWhere)
	path := filepath.Join(must[string](t)(os.MkdirTemp("/tmp", "virtnet-test-")), "sock") // a short one
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(path)) })
	p := launch(t, "lo", "proxy", "tea", "β", "--listen", "unix:"+path)
	p.until(eventReady)
	exitsWith(t, curl(t, "--proxy", "socks5h://localhost"+path, "http://www/"), 0, "/ of www")
	p.stop()
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is still there")
	}
}

func TestProxyUsage(t *testing.T) {
	for _, test := range []struct{ args, stderr string }{
		{"tea", "HOST is missing"},
		{"tea β γ", "unexpected argument \"γ\""},
		{"tea β --listen x", "address \"x\": invalid port"},
		{"tea β --max 0", "--max 0: it is 1 or more"},
		{"tea a/b --listen 0", "host: "},
		{"a/b β --listen 0", "network: "},
	} {
		tempDir(t)
		code, stdout, stderr := run(append([]string{"lo", "proxy"}, strings.Fields(test.args)...)...)
		if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "virtnet lo proxy: "+test.stderr) {
			t.Errorf("lo proxy %s: exit code %d, stdout %q, stderr %q, want %q", test.args, code, stdout, stderr, test.stderr)
		}
	}
}

// People hear of what is refused, but not over and over, and nothing that strangers send does anything to a terminal.
func TestProxyTeller(t *testing.T) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5}
	via, peer := &virtnet.Addr{Net: "lonettea", Host: "β", Port: 1}, &virtnet.Addr{Net: "lonettea", Host: "www", Port: 2}
	refused := func(n int, to, why string) proxy.Event {
		return proxy.Event{Kind: proxy.Refused, Conn: n, Protocol: proxy.SOCKS5, From: from, To: to, Err: errors.New(why)}
	}
	var out bytes.Buffer
	teller := newTeller("proxy", &out, false, false, func(error) {})
	told := &proxyTeller{t: teller, loud: true}
	for _, e := range []proxy.Event{
		refused(1, "www:80", "no"),
		refused(2, "www:80", "no"),
		refused(3, "www:81", "no"),
		refused(4, "", "garbage"),
		refused(5, "", "garbage"),
		refused(6, "\x1b[2J\n\"x\":80", "\x1b[2J\n\"x\""),
		refused(7, strings.Repeat("x", 5000), "no"),
		refused(8, "www:80", "no"),
		{Kind: proxy.Opened, Conn: 9, From: from, To: "www:80", Via: via, Peer: peer},
		{Kind: proxy.Ended, Conn: 9, From: from, To: "www:80", Via: via, Peer: peer, Sent: 1, Received: 2},
		refused(10, "www:80", "no"),
		{Kind: proxy.Trouble, Err: errors.New("too many open files")},
	} {
		told.tell(e)
	}
	teller.close()
	want := strings.Join([]string{
		`proxy: #1 127.0.0.1:5 -> www:80: refused: no`,
		`proxy: #3 127.0.0.1:5 -> www:81: refused: no`,
		`proxy: #4 127.0.0.1:5 -> "": refused: garbage`,
		`proxy: #6 127.0.0.1:5 -> "\x1b[2J\n\"x\":80": refused: \x1b[2J\n"x"`,
		`proxy: #7 127.0.0.1:5 -> ` + strings.Repeat("x", 600) + `…: refused: no`,
		`proxy: #8 127.0.0.1:5 -> www:80: refused: no`,
		`proxy: #10 127.0.0.1:5 -> www:80: refused: no`,
		`proxy: too many open files`,
	}, "\n") + "\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}
