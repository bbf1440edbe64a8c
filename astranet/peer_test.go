package astranet_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/astranet"
)

// nodeRole is what a child process with a node does.
const nodeRole = "ASTRANET_TEST_ROLE"

func init() { children["node"] = nodeChild }

func long() bool { return os.Getenv("VIRTNET_TEST_LONG") == "1" }

// nodeChild is a process with a node, until its input ends.
func nodeChild() int {
	kind, arg, _ := strings.Cut(os.Getenv(nodeRole), " ")
	n := astranet.Config{Insecure: true}.New()
	defer n.Close()
	l, err := n.Bind("", "echo")
	if err == nil {
		go echoAll(l)
		switch kind {
		case "listen":
			if err = n.ListenAndServe("tcp", arg); err == nil {
				fmt.Println(n.Addrs()[0])
			}
		case "join":
			if err = n.Join("tcp", arg); err == nil {
				go tellRoutes(n)
			}
		case "saturate":
			if err = n.Join("tcp", arg); err == nil {
				go tellRoutes(n)
				go saturate(n)
			}
		case "attach":
			n.Attach(struct {
				io.Reader
				io.WriteCloser
			}{os.Stdin, os.Stdout})
			return 0
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// tellRoutes says how many nodes there are links with, whenever that changes.
func tellRoutes(n astranet.AstraNet) {
	for said := -1; ; time.Sleep(5 * time.Millisecond) {
		if now := len(n.Routes()); now != said {
			said = now
			fmt.Println("routes", said)
		}
	}
}

// saturate keeps the link to a node that echoes full, both ways, and says what has come back, each second.
func saturate(n astranet.AstraNet) {
	c, err := n.DialTimeout("", "echo", time.Minute)
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for b := make([]byte, 64<<10); err == nil; {
			_, err = c.Write(b)
		}
	}()
	b, total, said := make([]byte, 64<<10), 0, time.Now()
	for {
		k, err := c.Read(b)
		if total += k; err != nil || time.Since(said) > time.Second {
			said = time.Now()
			fmt.Println("bytes", total, err)
		}
		if err != nil {
			return
		}
	}
}

// other is another process with a node.
type other struct {
	*exec.Cmd
	in    io.WriteCloser
	out   io.ReadCloser
	first string      // the first line that it says
	lines chan string // the next ones
}

// start starts another process. in names a network namespace, if it is not "".
func start(t testing.TB, in, role string) *other {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{self}
	if in != "" {
		args = []string{"ip", "netns", "exec", in, self}
	}
	o := &other{Cmd: exec.Command(args[0], args[1:]...)}
	o.Env = append(os.Environ(), childPart+"=node", nodeRole+"="+role)
	o.Stderr = os.Stderr
	if o.in, err = o.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if o.out, err = o.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := o.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = o.Process.Kill()
		_ = o.Wait()
	})
	if role != "attach" {
		o.lines = make(chan string, 1000)
		go func() {
			defer close(o.lines)
			for s := bufio.NewScanner(o.out); s.Scan(); {
				o.lines <- s.Text()
			}
		}()
		o.first = <-o.lines
	}
	return o
}

// eventually waits until it is so, and returns how long that took.
func eventually(t testing.TB, what string, is func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !is() {
		if time.Since(begin) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(begin)
}

// echoAll serves connections that get back what they send.
func echoAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

// wantEcho checks that the service "echo" of another node can be dialled from n.
func wantEcho(t testing.TB, n astranet.AstraNet) {
	t.Helper()
	c, err := n.DialTimeout("", "echo", patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := strings.Repeat("0123456789", 20000)
	go func() { _, _ = io.WriteString(c, want) }()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("echo: %v, right: %v", err, string(got) == want)
	}
}

// bindEcho has a node offer the service "echo".
func bindEcho(t testing.TB, n astranet.AstraNet) {
	t.Helper()
	l, err := n.Bind("", "echo")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go echoAll(l)
}
