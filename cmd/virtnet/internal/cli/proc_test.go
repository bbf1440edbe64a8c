package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what ought to happen.
const patience = 30 * time.Second

// A proc is the command as a process.
type proc struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser // nil if the test has given one
	stdout *os.File       // likewise; nil if there are the events
	events chan event     // closed when there are no more
	lines  *output        // what came on standard error and is no event
	done   chan struct{}  // closed when it has ended
	read   sync.WaitGroup // of events and lines
}

// output is a buffer for a goroutine that writes and one that looks.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// launch starts the command with these arguments and --json. The events of lo listen and lo dial come from standard error,
// all others' from standard output. The process is killed when the test ends.
func launch(t *testing.T, args ...string) *proc {
	t.Helper()
	return launchWith(t, func(*exec.Cmd) {}, args...)
}

// launchWith is launch, where set may say more about the process.
func launchWith(t *testing.T, set func(*exec.Cmd), args ...string) *proc {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &proc{t: t, cmd: exec.Command(self, append(args, "--json")...), events: make(chan event, 1<<14), lines: &output{}, done: make(chan struct{})}
	set(p.cmd)
	if p.cmd.Stdin == nil {
		if p.stdin, err = p.cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	var childEnd *os.File
	if p.cmd.Stdout == nil { // not StdoutPipe, which Wait closes though the test may not have read it yet
		if p.stdout, childEnd, err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
		p.cmd.Stdout = childEnd
	}
	from := stderr
	if talks := args[1] == "listen" || args[1] == "dial"; !talks && p.stdout != nil {
		from, p.stdout = p.stdout, nil
	} else {
		stderr = nil
	}
	err = p.cmd.Start()
	childEnd.Close()
	if err != nil {
		t.Fatal(err)
	}
	p.read.Go(func() { p.readEvents(from) })
	if stderr != nil {
		p.read.Go(func() { io.Copy(io.MultiWriter(p.lines, t.Output()), stderr) })
	}
	go func() {
		p.read.Wait() // before Wait, which closes the pipes
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		if p.stdout != nil {
			p.stdout.Close()
		}
		<-p.done
	})
	return p
}

// readEvents reads events, and other lines.
func (p *proc) readEvents(r io.ReadCloser) {
	defer r.Close()
	defer close(p.events)
	for in := bufio.NewReader(r); ; {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			p.t.Logf("%s: %s", p.cmd.Args[2], bytes.TrimSpace(line))
		}
		var e event
		if json.Unmarshal(line, &e) == nil {
			p.events <- e
		} else {
			p.lines.Write(line)
		}
		if err != nil {
			return
		}
	}
}

// until returns the next event of this kind.
func (p *proc) until(kind eventKind) event {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e, ok := <-p.events:
			if !ok {
				p.t.Fatalf("virtnet %s: there is no event %q: %s", strings.Join(p.cmd.Args[1:], " "), kind, p.lines)
			}
			if e.Kind == kind {
				return e
			}
		case <-timeout:
			p.t.Fatalf("virtnet %s: no event %q comes: %s", strings.Join(p.cmd.Args[1:], " "), kind, p.lines)
		}
	}
}

// exits waits for the end, and checks the exit code and what is in the lines on standard error.
func (p *proc) exits(code int, want string) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("virtnet %s does not end", strings.Join(p.cmd.Args[1:], " "))
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code || !strings.Contains(p.lines.String(), want) || want == "" && p.lines.String() != "" {
		p.t.Errorf("virtnet %s: exit code %d, want %d; stderr %q, want %q", strings.Join(p.cmd.Args[1:], " "), got, code, p.lines, want)
	}
}

// signal sends the process a signal.
func (p *proc) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// stop ends a command that runs until it is told to end.
func (p *proc) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	p.exits(exitOK, "")
}

// noHosts checks that nobody is on the network tea any more.
func noHosts(t *testing.T, tmp string) {
	t.Helper()
	code, stdout, stderr := run("lo", "ls", "tea", "--json")
	var doc loJSON
	if err := json.Unmarshal([]byte(stdout), &doc); err != nil || code != exitOK {
		t.Fatalf("lo ls: exit code %d, %v: %s", code, err, stderr)
	}
	if n := doc.Networks[0]; len(n.Hosts) > 0 || n.Processes > 0 {
		t.Errorf("left on the network: %s", stdout)
	}
	if marks, _ := filepath.Glob(filepath.Join(tmp, "lonet", "tea", "*.live")); len(marks) > 0 {
		t.Errorf("left behind: %q", marks)
	}
}

// must returns a function that returns a value, or fails the test.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
