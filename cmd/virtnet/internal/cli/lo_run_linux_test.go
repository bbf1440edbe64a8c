package cli

import (
	"bufio"
	"io"
	"os/exec"
	"syscall"
	"testing"
)

// A key of the terminal reaches the program once, and what is sent to run reaches it, too.
func TestRunTerminal(t *testing.T) {
	tmp := tempDir(t)
	keyboard, terminal := openTerminal(t)
	cmd := runCommand(t, asProgram(t, "signals")...)
	cmd.Stdin, cmd.Stderr = terminal, t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	out := bufio.NewReader(must[io.ReadCloser](t)(cmd.StdoutPipe()))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	next := func(want string) {
		t.Helper()
		if got, err := out.ReadString('\n'); got != want+"\n" {
			t.Fatalf("it says %q (%v), want %q", got, err, want)
		}
	}
	next("ready")
	for _, key := range []struct{ key, signal string }{{"\x03", "interrupt"}, {"\x1c", "quit"}, {"\x03", "interrupt"}} {
		io.WriteString(keyboard, key.key)
		next(key.signal)
		cmd.Process.Signal(syscall.SIGUSR1) // after the signal of the key
		next("user defined signal 1")
	}
	cmd.Process.Signal(syscall.SIGTERM)
	next("terminated")
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 9 {
		t.Errorf("exit code %d, want the program's", code)
	}
	noHosts(t, tmp)
}

// A program under nohup stays when the terminal goes.
func TestRunNohup(t *testing.T) {
	tempDir(t)
	cmd := runCommand(t, asProgram(t, "signals")...)
	nohup, err := exec.LookPath("nohup")
	if err != nil {
		t.Skip(err)
	}
	cmd.Args = append([]string{nohup}, cmd.Args...)
	cmd.Path = nohup
	out := bufio.NewReader(must[io.ReadCloser](t)(cmd.StdoutPipe()))
	cmd.SysProcAttr = noTerminal()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.ReadString('\n')
	cmd.Process.Signal(syscall.SIGHUP)
	cmd.Process.Signal(syscall.SIGTERM)
	if got, err := out.ReadString('\n'); got != "terminated\n" {
		t.Errorf("it says %q (%v)", got, err)
	}
	cmd.Wait()
}
