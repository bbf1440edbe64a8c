package lonet_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
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

// kill kills the child and returns once the kernel has taken from it what it held.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
}

// A process is what a child is made of.
type process struct {
	sub       *virtnet.SubNetwork
	listeners map[string]xnet.Listener
	conn      net.Conn // the last one
	locker    *sqlite.Conn
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
			fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok", got)
		}
	}
}

func (p *process) obey(ctx context.Context, command string, args []string) (got string, err error) {
	switch command {
	case "join": // TEMPDIR NETWORK [TIME]: joins, at a time in Unix nanoseconds
		if ns, _ := strconv.ParseInt(args[2], 10, 64); ns != 0 {
			<-time.After(time.Until(time.Unix(0, ns)))
		}
		if p.sub, err = (lonet.Config{TempDir: args[0]}).Join(ctx, args[1]); err == nil {
			got = p.sub.Network()
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
	default:
		got, err = p.obeySystem(command, args)
	}
	return got, err
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
func echo(l xnet.Listener) {
	for {
		c, err := l.Accept(context.Background())
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
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
