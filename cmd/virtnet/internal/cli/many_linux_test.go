package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/virtnet/virtnet/internal/needs"
)

// descriptors returns how many pipes, and how many other files, a process has open.
func descriptors(t *testing.T, pid int) (pipes, others int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	for _, e := range must[[]os.DirEntry](t)(os.ReadDir(dir)) {
		name, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // closed just now
		}
		if strings.HasPrefix(name, "pipe:") {
			pipes++
		} else {
			others++
		}
	}
	return pipes, others
}

// A thousand connections, however they end, leave nothing: no descriptor, no goroutine, no port, no row.
func TestRelayMany(t *testing.T) {
	const many, atOnce = 1000, 50
	tempDir(t)
	c := newChain(t, serveTCP(t, echoes))
	relays := []*proc{c.forward, c.expose}
	connect := func(i int) {
		conn := dialTCP(t, c.listen)
		defer conn.Close()
		io.WriteString(conn, "hello")
		if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
		switch i % 3 {
		case 1:
			conn.SetLinger(0)
		case 2:
			conn.CloseWrite()
			io.Copy(io.Discard, conn)
		}
	}
	ended := func(n int) {
		for _, p := range relays {
			for range n {
				p.until(eventEnd)
			}
		}
	}
	connect(0)
	ended(1)
	var pipes, others [2]int
	for i, p := range relays {
		pipes[i], others[i] = descriptors(t, p.cmd.Process.Pid)
	}

	var clients sync.WaitGroup
	turns := make(chan int)
	for range atOnce {
		clients.Go(func() {
			for i := range turns {
				connect(i)
			}
		})
	}
	for i := range many {
		turns <- i
	}
	close(turns)
	clients.Wait()
	ended(many)

	for i, p := range relays {
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			// Package net keeps pipes that it splices through, and closes them when the collector finds time. If
			// they were left behind they would be four for each connection.
			pp, o := descriptors(t, p.cmd.Process.Pid)
			if o == others[i] && pp < many {
				t.Logf("%s has %d pipes, and had %d", p.cmd.Args[2], pp, pipes[i])
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s has %d pipes and %d other descriptors; it had %d and %d", p.cmd.Args[2], pp, o, pipes[i], others[i])
			}
		}
	}
	var doc loJSON
	_, stdout, _ := run("lo", "ls", "tea", "--json")
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || len(doc.Networks[0].Hosts) != 2 || doc.Networks[0].Processes != 2 {
		t.Errorf("on the network: %v, %s", err, stdout)
	}
	connect(0)
	if e := c.forward.until(eventEnd); e.Via != "β:1" || e.Accepted != "www:1" {
		t.Errorf("the ports of another connection are %s and %s, want the first ones", e.Via, e.Accepted)
	}
	c.expose.until(eventEnd)
	for _, p := range relays {
		p.signal(syscall.SIGQUIT) // prints the stacks
		<-p.done
		ours := 0
		for stack := range strings.SplitSeq(p.lines.String(), "\n\n") {
			if strings.Contains(stack, "github.com/virtnet/virtnet") {
				ours++
			}
		}
		if ours < 2 || ours > 6 || strings.Contains(p.lines.String(), "bridge.Join") {
			t.Errorf("%s has %d goroutines that do our work", p.cmd.Args[2], ours)
		}
	}
}

// When there are no descriptors left, connections are reset or wait, and those that there are go on. It is over when
// there are some again.
func TestRelayDescriptors(t *testing.T) {
	sh := needs.Program(t, "sh")
	tmp := tempDir(t)
	short := func(cmd *exec.Cmd) {
		cmd.Args = append([]string{sh, "-c", `ulimit -n 64; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = sh
	}
	expose := launch(t, "lo", "expose", "tea", "www:80", serveTCP(t, echoes))
	expose.until(eventReady)
	forward := launchWith(t, short, "lo", "forward", "tea", "β", "0", "www:80")
	addr := forward.until(eventReady).Listen
	first := dialTCP(t, addr)
	exchange(t, first)
	var conns []net.Conn
	for range 60 {
		if c, err := net.Dial("tcp", addr); err == nil { // else it is reset already
			conns = append(conns, c)
		}
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if pipes, others := descriptors(t, forward.cmd.Process.Pid); pipes+others > 60 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it does not run out of descriptors")
		}
	}
	exchange(t, first)
	for _, c := range conns {
		c.Close()
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			io.WriteString(c, "x")
			_, err = io.ReadFull(c, make([]byte, 1))
			c.Close()
		}
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it does not recover: %v", err)
		}
	}
	exchange(t, first)
	first.Close()
	forward.stop()
	expose.stop()
	noHosts(t, tmp)
}

// exchange sends something to an echo.
func exchange(t *testing.T, c net.Conn) {
	t.Helper()
	io.WriteString(c, "hello")
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
}

// The bytes stay in the kernel on their way through forward and expose.
func TestRelaySplice(t *testing.T) {
	strace := needs.Program(t, "strace")
	tempDir(t)
	const size = 8 << 20
	trace := filepath.Join(t.TempDir(), "trace")
	traced := func(cmd *exec.Cmd) {
		cmd.Args = append([]string{strace, "-f", "-qq", "-o", trace, "-e", "trace=splice,read,write", cmd.Path}, cmd.Args[1:]...)
		cmd.Path = strace
	}
	target := serveTCP(t, echoes)
	for _, name := range []string{"expose", "forward"} {
		var set = map[string]func(*exec.Cmd){"expose": func(*exec.Cmd) {}, "forward": func(*exec.Cmd) {}}
		set[name] = traced
		expose := launchWith(t, set["expose"], "lo", "expose", "tea", "www:80", target)
		expose.until(eventReady)
		forward := launchWith(t, set["forward"], "lo", "forward", "tea", "β", "0", "www:80")
		conn := dialTCP(t, forward.until(eventReady).Listen)
		go func() {
			io.Copy(conn, io.LimitReader(endlessText{}, size))
			conn.CloseWrite()
		}()
		if n, err := io.Copy(io.Discard, conn); n != size || err != nil {
			t.Errorf("%d bytes came back, %v", n, err)
		}
		for _, p := range []*proc{forward, expose} {
			p.until(eventEnd)
			pid := p.cmd.Process.Pid
			if p.cmd.Path == strace { // the command is its child
				children := must[[]byte](t)(os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)))
				pid = must[int](t)(strconv.Atoi(strings.TrimSpace(string(children))))
			}
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			p.exits(exitOK, "")
		}
		moved := make(map[string]int)
		for _, call := range regexp.MustCompile(`(splice|read|write)(?:\(| resumed>).* = (\d+)`).FindAllStringSubmatch(string(must[[]byte](t)(os.ReadFile(trace))), -1) {
			moved[call[1]] += must[int](t)(strconv.Atoi(call[2]))
		}
		// Each byte goes into a pipe and out of it, on its way there and on its way back.
		if rest := moved["read"] + moved["write"]; moved["splice"] < 4*size || rest > size/50 {
			t.Errorf("%s moved %v bytes, want %d spliced and hardly any others", name, moved, 4*size)
		}
	}
}
