package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// line is what the tests look at in a line of the demo's JSON.
type line struct {
	Event, Host, Text string
	Step, PID         int
	OK                bool
}

// started is the command as a process, with JSON on its standard output.
type started struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	out    io.Closer // its end of stdout
	stdout *bufio.Scanner
	stderr bytes.Buffer // once it has ended
}

func start(t *testing.T, args ...string) *started {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &started{t: t, cmd: exec.Command(self, args...)}
	s.cmd.Stderr = io.MultiWriter(&s.stderr, t.Output())
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out, s.stdout = stdout, bufio.NewScanner(stdout)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
	return s
}

// until reads lines until one is of the event.
func (s *started) until(event string) line {
	s.t.Helper()
	for s.stdout.Scan() {
		var l line
		if err := json.Unmarshal(s.stdout.Bytes(), &l); err != nil {
			s.t.Fatalf("%q: %v", s.stdout.Text(), err)
		}
		if l.Event == event {
			return l
		}
	}
	s.t.Fatalf("there is no event %q: %v", event, s.stdout.Err())
	return line{}
}

// ends waits for the end of a command, and checks how it ended, what its standard error begins with, and that nothing
// is left of it in tmp.
func (s *started) ends(tmp string, code int, stderr string) {
	s.t.Helper()
	s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != code || !strings.HasPrefix(s.stderr.String(), stderr) {
		s.t.Errorf("exit code %d, want %d; stderr %q, want %q…", got, code, &s.stderr, stderr)
	}
	for _, pattern := range []string{"lonet/*", "virtnet-demo-*"} {
		if left, _ := filepath.Glob(filepath.Join(tmp, filepath.FromSlash(pattern))); len(left) > 0 {
			s.t.Errorf("left behind: %q", left)
		}
	}
}

// manyFiles makes a directory of so many files that what the demo prints of them does not fit into a pipe: it
// cannot come to its end while nobody reads.
func manyFiles(t *testing.T) string {
	dir := t.TempDir()
	for i := range 600 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("some text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDemo(t *testing.T) {
	tempDir(t)
	code, stdout, stderr := run("demo")
	if code != exitOK || stderr != "" || !strings.Contains(stdout, "All 14 checks held") {
		t.Errorf("exit code %d, stdout\n%s\nstderr %q", code, stdout, stderr)
	}
}

func TestDemoFails(t *testing.T) {
	tempDir(t)
	code, stdout, stderr := run("demo", "--dir", filepath.Join(t.TempDir(), "none"))
	if code != exitFailed || !strings.Contains(stdout, "The demo failed") || !strings.HasPrefix(stderr, "virtnet demo: ") {
		t.Errorf("exit code %d, stdout\n%s\nstderr %q", code, stdout, stderr)
	}
}

// An interrupted demo leaves nothing.
func TestDemoInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent an interrupt")
	}
	tmp := tempDir(t)
	demo := start(t, "demo", "--json", "--dir", manyFiles(t))
	demo.until("ready")
	if err := demo.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if l := demo.until("result"); l.OK {
		t.Errorf("the result is %+v", l)
	}
	demo.ends(tmp, 130, "virtnet demo: interrupted\n")
}

// As a demo in a pipe to "head".
func TestDemoNobodyReads(t *testing.T) {
	tmp := tempDir(t)
	demo := start(t, "demo", "--json", "--dir", manyFiles(t))
	demo.until("ready")
	demo.out.Close()
	demo.ends(tmp, exitFailed, "virtnet demo: the account could not be written: write ")
}

func TestDemoDiskFull(t *testing.T) {
	tmp := tempDir(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	var stderr bytes.Buffer
	code := Main([]string{"demo"}, strings.NewReader(""), full, &stderr)
	if want := "virtnet demo: the account could not be written: write /dev/full: no space left on device\n"; code != exitFailed || stderr.String() != want {
		t.Errorf("exit code %d, want %d; stderr %q, want %q", code, exitFailed, &stderr, want)
	}
	if left, _ := filepath.Glob(filepath.Join(tmp, "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// The processes of a demo that is killed end by themselves.
func TestDemoKilled(t *testing.T) {
	tmp := tempDir(t)
	demo := start(t, "demo", "--json")
	demo.until("ready")
	demo.cmd.Process.Kill()
	demo.cmd.Wait()
	networks, _ := filepath.Glob(filepath.Join(tmp, "lonet", "*"))
	if len(networks) != 1 {
		t.Fatalf("networks %q, want that of the demo", networks)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, stdout, stderr := run("lo", "ls", filepath.Base(networks[0]), "--json")
		var doc loJSON
		if err := json.Unmarshal([]byte(stdout), &doc); err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		if doc.Networks[0].Processes == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes are left: %s", stdout)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestLoLsDead(t *testing.T) {
	tempDir(t)
	process := start(t, processCommand)
	fmt.Fprintf(process.stdin, `{"network": "tea", "host": "α", "dir": %q}`, t.TempDir())
	process.until("ready")
	if _, stdout, _ := run("lo", "ls", "tea"); !strings.Contains(stdout, "alive") {
		t.Errorf("while it lives:\n%s", stdout)
	}
	process.cmd.Process.Kill()
	process.cmd.Wait()
	if code, stdout, _ := run("lo", "ls", "tea"); code != exitOK || !strings.Contains(stdout, "dead") {
		t.Errorf("when it is killed:\n%s", stdout)
	}
}
