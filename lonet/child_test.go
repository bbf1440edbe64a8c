package lonet_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/lonet"
	"github.com/virtnet/virtnet/xnet"
)

// Tests that need other processes run this binary again, as children that do what they are told.
const childEnv = "VIRTNET_LONET_TEST_CHILD"

// A child is another process.
type child struct {
	testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// newChild starts a child. It ends with the test, and is killed should it hang.
func newChild(t testing.TB) *child {
	t.Helper()
	return startChild(t, func(*exec.Cmd) {})
}

func startChild(t testing.TB, prepare func(*exec.Cmd)) *child {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	prepare(cmd)
	in := must[io.WriteCloser](t)(cmd.StdinPipe())
	out := must[io.ReadCloser](t)(cmd.StdoutPipe())
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

// send gives the child a command.
func (c *child) send(words ...any) { fmt.Fprintln(c.in, words...) }

// reply returns the child's answer to the oldest command that has none yet: what comes after "ok", or the text
// of an error.
func (c *child) reply() (string, error) {
	c.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.Fatalf("child: %v", err)
	}
	kind, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	if kind != "ok" {
		return "", errors.New(text)
	}
	return text, nil
}

// do has the child do what must succeed.
func (c *child) do(words ...any) string {
	c.Helper()
	c.send(words...)
	got, err := c.reply()
	if err != nil {
		c.Fatalf("child: %v: %v", words, err)
	}
	return got
}

// wantError gives the child a command that must fail, with an error that has these words.
func (c *child) wantError(words []any, want ...string) {
	c.Helper()
	c.send(words...)
	_, err := c.reply()
	for _, word := range want {
		if err == nil || !strings.Contains(err.Error(), word) {
			c.Errorf("%v: error %v, want %q in it", words, err, word)
		}
	}
}

// kill kills the child and returns once the kernel has taken from it what it held.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// A process is what a child is made of.
type process struct {
	cfg       lonet.Config
	log       recorder
	sub       *virtnet.SubNetwork
	listeners map[string]xnet.Listener
	conn      net.Conn // the last one
	locker    *sqlite.Conn
	eaten     []int // descriptors that nobody needs
}

// childMain obeys the commands that come on standard input.
func childMain() {
	p := &process{listeners: make(map[string]xnet.Listener)}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		words := strings.Fields(in.Text())
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		got, err := p.obey(ctx, words[0], append(words[1:], make([]string, 4)...))
		cancel()
		if err != nil {
			fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", " ")+causes(err))
		} else {
			fmt.Println("ok", got)
		}
	}
}

// causes tells which errors of the system err is, to errors.Is.
func causes(err error) (names string) {
	for name, cause := range map[string]error{"EMFILE": syscall.EMFILE, "ENOSPC": syscall.ENOSPC, "EROFS": syscall.EROFS, "EACCES": syscall.EACCES} {
		if errors.Is(err, cause) {
			names += " [" + name + "]"
		}
	}
	return names
}

func (p *process) obey(ctx context.Context, command string, args []string) (got string, err error) {
	switch command {
	case "join": // TEMPDIR NETWORK [TIME]: joins, at a time in Unix nanoseconds
		if ns, _ := strconv.ParseInt(args[2], 10, 64); ns != 0 {
			<-time.After(time.Until(time.Unix(0, ns)))
		}
		p.cfg.TempDir = args[0]
		if p.sub, err = p.cfg.Join(ctx, args[1]); err == nil {
			got = p.sub.Network()
		}
	case "tryjoin": // TEMPDIR NETWORK: joins, and leaves at once
		cfg := p.cfg
		cfg.TempDir = args[0]
		var sub *virtnet.SubNetwork
		if sub, err = cfg.Join(ctx, args[1]); err == nil {
			err = sub.Close()
		}
	case "leave":
		err = p.sub.Close()
	case "host": // NAME
		_, err = p.sub.NewHost(ctx, args[0])
	case "close": // NAME: closes the host
		err = p.sub.Host(args[0]).Close()
	case "listen": // HOST ADDR
		p.listeners[args[1]], err = p.sub.Host(args[0]).Listen(ctx, args[1])
	case "echo": // ADDR
		go echo(p.listeners[args[0]])
	case "parrot": // ADDR: likewise, with no descriptors but the connections' own
		go answerAll(p.listeners[args[0]], func(c net.Conn) { io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) })
	case "relay": // HOST ADDR TO: connects who dials ADDR with TO
		go relayTo(p.listeners[args[1]], p.sub.Host(args[0]), args[2])
	case "accept": // ADDR MILLISECONDS
		limited, cancel := context.WithTimeout(ctx, millis(args[1]))
		defer cancel()
		if p.conn, err = p.listeners[args[0]].Accept(limited); err == nil {
			got = p.conn.RemoteAddr().String()
		}
	case "dial": // HOST ADDR
		if p.conn, err = p.sub.Host(args[0]).Dial(ctx, args[1]); err == nil {
			got = p.conn.RemoteAddr().String()
		}
	case "hangup":
		err = p.conn.Close()
	case "read": // reads all there is
		var all []byte
		all, err = io.ReadAll(p.conn)
		got = string(all)
	case "write": // TEXT
		_, err = io.WriteString(p.conn, args[0])
	case "lock": // PATH: holds the write lock of a registry
		if p.locker, err = sqlite.OpenConn(args[0], sqlite.OpenReadWrite); err == nil {
			err = exec1(p.locker, "BEGIN IMMEDIATE")
		}
	case "unlock":
		err = errors.Join(exec1(p.locker, "COMMIT"), p.locker.Close())
	case "strangers": // OSLADDR N: connects and says nothing
		for range must1(strconv.Atoi(args[1])) {
			if _, err = net.DialTimeout("tcp4", args[0], patience); err != nil { // closed by the end of the process
				return "", err
			}
		}
	case "rascals": // OSLADDR N: connects, and talks nonsense
		err = rascals(args[0], must1(strconv.Atoi(args[1])))
	case "flood": // OSLADDR MILLISECONDS WORKERS: connects all that time, and says nothing
		got = fmt.Sprint(flood(args[0], millis(args[1]), must1(strconv.Atoi(args[2]))))
	case "config": // HALFOPEN: joins from now on with so many places for strangers, and a log
		p.cfg = lonet.Config{HalfOpen: must1(strconv.Atoi(args[0])), Log: slog.New(slog.NewTextHandler(&p.log, nil))}
	case "churn": // N: makes and closes that many hosts
		err = p.churn(ctx, must1(strconv.Atoi(args[0])))
	case "log": // what has been logged
		got = strings.ReplaceAll(p.log.String(), "\n", "; ")
	case "descriptors": // how many there are
		got = fmt.Sprint(descriptors())
	case "ping": // a round trip with one who echoes
		err = pingPong(p.conn)
	case "sql": // PATH QUERY...
		got, err = query1(args[0], strings.TrimSpace(strings.Join(args[1:], " ")))
	default:
		if f := extra[command]; f != nil {
			return f(args)
		}
		got, err = p.obeySystem(command, args)
	}
	return got, err
}

// extra has commands that only some tests need.
var extra = make(map[string]func(args []string) (string, error))

// pingPong sends a byte to one who echoes it.
func pingPong(c net.Conn) error {
	c.SetDeadline(time.Now().Add(patience))
	b := []byte("x")
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b)
	return err
}

// query1 returns the first column of the first row that a query of a database has.
func query1(path, query string) (string, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetBusyTimeout(patience)
	stmt, _, err := conn.PrepareTransient(query)
	if err != nil {
		return "", err
	}
	defer stmt.Finalize()
	if _, err := stmt.Step(); err != nil {
		return "", err
	}
	return stmt.ColumnText(0), nil
}

// churn makes hosts, and closes them.
func (p *process) churn(ctx context.Context, n int) error {
	for i := range n {
		h, err := p.sub.NewHost(ctx, fmt.Sprint("churn", i))
		if err != nil {
			return err
		}
		if err := h.Close(); err != nil {
			return err
		}
	}
	return nil
}

func millis(text string) time.Duration {
	return time.Duration(must1(strconv.Atoi(text))) * time.Millisecond
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func exec1(conn *sqlite.Conn, query string) error {
	stmt, _, err := conn.PrepareTransient(query)
	if err != nil {
		return err
	}
	defer stmt.Finalize()
	_, err = stmt.Step()
	return err
}

// echo makes whoever dials l hear what they say, until l is closed.
func echo(l xnet.Listener) { answerAll(l, func(c net.Conn) { io.Copy(c, c) }) }

// answerAll serves whoever dials l, until l is closed.
func answerAll(l xnet.Listener, serve func(c net.Conn)) {
	for {
		c, err := l.Accept(context.Background())
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

// relayTo connects whoever dials l with addr, which it dials from h, until l is closed.
func relayTo(l xnet.Listener, h *virtnet.Host, addr string) {
	for {
		near, err := l.Accept(context.Background())
		if err != nil {
			return
		}
		far := must1(h.Dial(context.Background(), addr))
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			go func() {
				io.Copy(way[0], way[1])
				way[0].(*virtnet.Conn).CloseWrite()
			}()
		}
	}
}
