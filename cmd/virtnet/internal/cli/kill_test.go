package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// endProcess is the environment variable that makes the test binary an end of a connection: "server", or the address
// that a client dials.
const endProcess = "VIRTNET_TEST_END"

// TestEndProcess is no test, but a process with one connection: a server that prints where it listens, or a client. It
// says hello, and reads one byte of what comes, which it prints.
func TestEndProcess(t *testing.T) {
	var c net.Conn
	var err error
	switch to := os.Getenv(endProcess); to {
	case "":
		t.Skip("it is for other tests")
	case "server":
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err == nil {
			fmt.Println(l.Addr())
			c, err = l.Accept()
		}
	default:
		c, err = net.Dial("tcp", to)
	}
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "hello")
	b := make([]byte, 1)
	c.Read(b)
	fmt.Printf("%s\n", b)
	io.Copy(io.Discard, os.Stdin) // until it is killed, or the test ends
}

// An endProc is a process that is one end of a connection.
type endProc struct {
	cmd *exec.Cmd
	out *bufio.Scanner
}

func startEnd(t *testing.T, what string) *endProc {
	t.Helper()
	p := &endProc{cmd: exec.Command(must[string](t)(os.Executable()), "-test.run=^TestEndProcess$")}
	p.cmd.Env = append(os.Environ(), endProcess+"="+what)
	must[io.WriteCloser](t)(p.cmd.StdinPipe())
	p.out = bufio.NewScanner(must[io.ReadCloser](t)(p.cmd.StdoutPipe()))
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	return p
}

// line returns the next line that it prints.
func (p *endProc) line(t *testing.T) string {
	t.Helper()
	if !p.out.Scan() {
		t.Fatal("the process prints nothing: ", p.out.Err())
	}
	return p.out.Text()
}

// When forward or expose is killed, both ends hear of it, as of an error.
func TestRelayKilled(t *testing.T) {
	for _, name := range []string{"forward", "expose"} {
		t.Run(name, func(t *testing.T) {
			tempDir(t)
			server := make(chan *net.TCPConn, 1)
			hold := make(chan struct{})
			t.Cleanup(func() { close(hold) })
			c := newChain(t, serveTCP(t, func(c *net.TCPConn) { server <- c; <-hold }))
			victim, other := c.forward, c.expose
			if name == "expose" {
				victim, other = other, victim
			}
			client := dialTCP(t, c.listen)
			io.WriteString(client, "hello")
			ends := []*net.TCPConn{client, <-server}
			if _, err := io.ReadFull(ends[1], make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			victim.cmd.Process.Kill()
			for _, end := range ends {
				if b, err := io.ReadAll(end); len(b) > 0 || !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%v got %q, %v; want a reset", end.LocalAddr(), b, err)
				}
			}
			victim.exits(-1, "")
			if e := other.until(eventEnd); !strings.Contains(e.Error, "connection reset by peer") {
				t.Errorf("the other tells of %+v", e)
			}
			other.stop()
			join(t, "tea", "β", "www") // the names are free
		})
	}
}

// When a client or a server is killed, the other hears what the kernel tells: of an error, if the one had not read all that
// it was sent, and else of the end of the file. It cannot go on writing in either case.
func TestRelayEndKilled(t *testing.T) {
	for _, test := range []struct {
		victim string
		unread bool
		want   error // of Read; nil is EOF
	}{
		{"client", false, nil},
		{"client", true, syscall.ECONNRESET},
		{"server", false, nil},
		{"server", true, syscall.ECONNRESET},
	} {
		t.Run(fmt.Sprintf("%s, unread %v", test.victim, test.unread), func(t *testing.T) {
			tmp := tempDir(t)
			var c chain
			var victim *endProc
			var other *net.TCPConn
			if test.victim == "server" {
				victim = startEnd(t, "server")
				c = newChain(t, victim.line(t))
				other = dialTCP(t, c.listen)
			} else {
				client := make(chan *net.TCPConn, 1)
				hold := make(chan struct{})
				t.Cleanup(func() { close(hold) })
				c = newChain(t, serveTCP(t, func(c *net.TCPConn) { client <- c; <-hold }))
				victim = startEnd(t, c.listen)
				other = <-client
			}
			if _, err := io.ReadFull(other, make([]byte, 5)); err != nil { // its hello
				t.Fatal(err)
			}
			if test.unread {
				io.WriteString(other, "a bit more than it reads")
				if got := victim.line(t); got != "a" {
					t.Fatalf("it has read %q", got)
				}
			}
			victim.cmd.Process.Kill()
			if b, err := io.ReadAll(other); err != test.want && !errors.Is(err, test.want) {
				t.Errorf("the other got %q, %v; want %v", b, err, test.want)
			}
			for begun := time.Now(); ; {
				if _, err := other.Write(make([]byte, 1<<10)); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("writing hangs, after %v", time.Since(begun))
				} else if err == nil {
					continue
				}
				break
			}
			for _, p := range []*proc{c.forward, c.expose} {
				if e := p.until(eventEnd); e.Error == "" {
					t.Errorf("%s tells of %+v", p.cmd.Args[2], e)
				}
			}
			c.stop(t, tmp)
		})
	}
}
