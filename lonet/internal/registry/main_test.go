package registry

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
)

// Tests that need other processes run this binary again, as a child that obeys commands: see childMain.
const childEnv = "VIRTNET_REGISTRY_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		childMain()
		return
	}
	os.Exit(m.Run())
}

// member is a process on a network, or what stands for one in a test: an address and a registry.
type member struct {
	*Registry
	osladdr string
	ln      net.Listener
	hosts   atomic.Value // what it tells probes: a func(host string) bool; nil says nothing
	closed  atomic.Bool  // to probes: no host is here
}

// joined makes the member one of the network.
func (m *member) joined(r *Registry) {
	m.Registry = r
	m.has(r.owns)
}

// has makes the member tell probes by f which hosts are here; nil is as if nobody were.
func (m *member) has(f func(host string) bool) { m.hosts.Store(f) }

// listen makes a member that answers probes as a lonet process does, as far as they matter here: the one line
// it gets is a host's name, and it says "present" or "nohost".
func listen() (*member, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m := &member{ln: ln, osladdr: ln.Addr().String()}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go m.answer(c)
		}
	}()
	return m, nil
}

func (m *member) answer(c net.Conn) {
	defer c.Close()
	host, err := bufio.NewReader(c).ReadString('\n')
	has, _ := m.hosts.Load().(func(string) bool)
	if err != nil || has == nil {
		return
	}
	if !m.closed.Load() && has(strings.TrimSpace(host)) {
		io.WriteString(c, "present\n")
	} else {
		io.WriteString(c, "nohost\n")
	}
}

func (m *member) announce(ctx context.Context, host string) error {
	return m.Announce(ctx, host, m.osladdr)
}

func (m *member) withdraw(ctx context.Context, host string) error {
	return m.Withdraw(ctx, host, m.osladdr)
}

// owns tells whether the host is the process's: from before Announce writes its row until Withdraw begins.
func (r *Registry) owns(host string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.own[host] != 0
}

// leave stops accepting, then closes the registry, as a sub-network does.
func (m *member) leave() error {
	m.ln.Close()
	return m.Close()
}

// probe is the Prober that goes with member.
func probe(ctx context.Context, osladdr, host string) (Answer, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", osladdr)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return Nobody, nil
	}
	if err != nil {
		return Silent, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	fmt.Fprintln(c, host)
	switch line, err := bufio.NewReader(c).ReadString('\n'); {
	case ctx.Err() != nil:
		return Silent, nil
	case err != nil:
		return Nobody, nil
	case line == "nohost\n":
		return NoSuchHost, nil
	}
	return Present, nil
}

// join makes a member of the network in this process.
func join(t testing.TB, c Config, network string) *member {
	t.Helper()
	m, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.ln.Close() })
	if c.Probe == nil {
		c.Probe = probe
	}
	r, err := c.Open(t.Context(), network, m.osladdr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	m.joined(r)
	return m
}

// missing says that a test's part is left out because this machine lacks something.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("VIRTNET_TEST_REQUIRE") == "1" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("left out: %s is missing", what)
}

// A child is another process, which does what it is told.
type child struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// newChild starts a child. It ends with the test, and is killed should it hang.
func newChild(t testing.TB) *child {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
		cancel()
	})
	return &child{t, cmd, in, bufio.NewReader(out)}
}

func (c *child) send(words ...any) { fmt.Fprintln(c.in, words...) }

// reply returns the child's answer to the oldest command that has none yet.
func (c *child) reply() string {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("child: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

// do sends a command that must succeed, and returns what comes after "ok".
func (c *child) do(words ...any) string {
	c.t.Helper()
	got, err := c.try(words...)
	if err != nil {
		c.t.Fatalf("child: %v: %v", words, err)
	}
	return got
}

// try sends a command, and returns what comes after "ok", or the text of an error.
func (c *child) try(words ...any) (string, error) {
	c.t.Helper()
	c.send(words...)
	line := c.reply()
	if got, ok := strings.CutPrefix(line, "ok"); ok {
		return strings.TrimSpace(got), nil
	}
	return "", errors.New(strings.TrimPrefix(line, "error "))
}

// kill kills the child and returns once the kernel has taken from it what it held.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

func childMain() {
	ctx := context.Background()
	m, err := listen()
	if err != nil {
		panic(err)
	}
	var bare *sqlite.Conn
	commands := map[string]func(args []string) (string, error){
		// open tmp network [time]: opens the registry, at a time in Unix nanoseconds.
		"open": func(a []string) (string, error) {
			waitUntil(a[2:])
			start := time.Now()
			r, err := Config{TempDir: a[0], Probe: probe}.Open(ctx, a[1], m.osladdr)
			took := time.Since(start)
			m.joined(r)
			return fmt.Sprint(took.Microseconds()), err
		},
		"addr":     func([]string) (string, error) { return m.osladdr, nil },
		"announce": func(a []string) (string, error) { return "", m.announce(ctx, a[0]) },
		"query":    func(a []string) (string, error) { return m.Query(ctx, a[0]) },
		"close": func([]string) (string, error) {
			m.has(nil)
			return "", m.Close()
		},
		// oldopen tmp network host, oldclose: what a program that knows only registry.db does.
		"oldopen": func(a []string) (_ string, err error) {
			bare, err = oldOpen(Config{TempDir: a[0]}, a[1], a[2], m.osladdr)
			m.has(func(host string) bool { return host == a[2] })
			return "", err
		},
		"oldclose": func([]string) (string, error) {
			m.has(nil)
			err := errors.Join(bareExec(bare, "DELETE FROM hosts WHERE osladdr = '"+m.osladdr+"'"), bare.Close())
			return "", err
		},
		// copy from to, scribble path offset length: change files. This process must not, for it would lose SQLite's locks.
		"copy": func(a []string) (string, error) {
			data, err := os.ReadFile(a[0])
			if err == nil {
				err = os.WriteFile(a[1], data, 0o600)
			}
			return "", err
		},
		"scribble": func(a []string) (string, error) { return "", scribble(a[0], a[1], a[2]) },
		// gc tmp network: tells whether the network was removed.
		"gc": func(a []string) (string, error) {
			s, err := Config{TempDir: a[0], Probe: probe}.GC(ctx, a[1], GC{MinAge: -1})
			return fmt.Sprint(s.Removed), err
		},
		// lock path: holds the database's write lock until unlock. connect just opens it.
		"connect": func(a []string) (_ string, err error) {
			bare, err = sqlite.OpenConn(a[0], sqlite.OpenReadWrite)
			return "", err
		},
		"disconnect": func([]string) (string, error) { return "", bare.Close() },
		"exec":       func(a []string) (string, error) { return "", bareExec(bare, strings.Join(a, " ")) },
		// write time millis mode: writes rows in a closed loop; see BenchmarkAnnounce8.
		"write": func(a []string) (string, error) { return childWrite(m, bare, a) },
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		words := strings.Fields(in.Text())
		if got, err := commands[words[0]](words[1:]); err != nil {
			fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", " ")+codeOf(err))
		} else {
			fmt.Println("ok", got)
		}
	}
}

// oldOpen joins a network as a program that knows only registry.db, and announces a host.
func oldOpen(c Config, network, host, osladdr string) (*sqlite.Conn, error) {
	dir := filepath.Join(c.Dir(), network)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	conn, err := sqlite.OpenConn(registryPath(dir), sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(time.Second)
	d := &db{conn: conn}
	for _, query := range []string{
		"PRAGMA journal_mode = wal",
		createHosts, createMeta,
		"INSERT OR IGNORE INTO meta VALUES ('schemaver', 'lonet.1'), ('network', '" + network + "')",
	} {
		if err == nil {
			_, err = d.text(query)
		}
	}
	if err == nil {
		err = d.check(network)
	}
	if err == nil {
		_, err = d.text("INSERT INTO hosts VALUES ('" + host + "', '" + osladdr + "')")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// scribble writes over a part of a file.
func scribble(path, offset, length string) error {
	at, err := strconv.ParseInt(offset, 10, 64)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(length)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, n), at)
	return errors.Join(err, f.Close())
}

// waitUntil waits for the time in args, in Unix nanoseconds, if there is one.
func waitUntil(args []string) {
	if len(args) == 0 {
		return
	}
	ns, _ := strconv.ParseInt(args[0], 10, 64)
	time.Sleep(time.Until(time.Unix(0, ns)))
}

func bareExec(conn *sqlite.Conn, query string) error {
	stmt, _, err := conn.PrepareTransient(query)
	if err != nil {
		return err
	}
	defer stmt.Finalize()
	_, err = stmt.Step()
	return err
}
func codeOf(err error) string {
	if c := sqlite.ErrCode(err); c != sqlite.ResultError {
		return " " + c.String()
	}
	return ""
}
