package cli

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"

	"github.com/virtnet/virtnet/internal/needs"
)

// openTerminal makes a terminal: what is written to keyboard is typed at it.
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	var number uint32
	var unlock int32
	for request, arg := range map[uintptr]unsafe.Pointer{syscall.TIOCGPTN: unsafe.Pointer(&number), syscall.TIOCSPTLCK: unsafe.Pointer(&unlock)} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, keyboard.Fd(), request, uintptr(arg)); errno != 0 {
			t.Skip(errno)
		}
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

// At a terminal, where nobody types anything, the other side's end is the end.
func TestTalkTerminal(t *testing.T) {
	tmp := tempDir(t)
	for _, listens := range []bool{true, false} {
		keyboard, terminal := openTerminal(t)
		atTerminal := func(cmd *exec.Cmd) { cmd.Stdin = terminal }
		usual := func(*exec.Cmd) {}
		set := []func(*exec.Cmd){atTerminal, usual}
		if !listens {
			set[0], set[1] = set[1], set[0]
		}
		listen := launchWith(t, set[0], "lo", "listen", "tea", "α:1")
		listen.until(eventReady)
		dial := launchWith(t, set[1], "lo", "dial", "tea", "α:1", "--as", "β")
		dial.until(eventOpen)
		person, other := listen, dial
		if !listens {
			person, other = dial, listen
		}
		io.WriteString(keyboard, "typed\n")
		got := make([]byte, 6)
		if _, err := io.ReadFull(other.stdout, got); string(got) != "typed\n" || err != nil {
			t.Errorf("received %q, %v", got, err)
		}
		io.WriteString(other.stdin, "answer")
		other.stdin.Close()
		if got := readAll(t, person.stdout); string(got) != "answer" {
			t.Errorf("the person sees %q", got)
		}
		person.exits(exitOK, "")
		other.exits(exitOK, "")
	}
	noHosts(t, tmp)
}

// In the background, there is nothing to read from the terminal; it does not stop the command.
func TestTalkBackground(t *testing.T) {
	sh := needs.Program(t, "sh")
	tmp := tempDir(t)
	_, terminal := openTerminal(t)
	job := func(cmd *exec.Cmd) {
		cmd.Stdin = terminal
		cmd.Args = append([]string{sh, "-mc", `"$0" "$@" & wait $!`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = sh
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	listen := launchWith(t, job, "lo", "listen", "tea", "α:1")
	listen.until(eventReady)
	dial := launchWith(t, input(t, []byte("hello")), "lo", "dial", "tea", "α:1")
	if got := readAll(t, listen.stdout); string(got) != "hello" {
		t.Errorf("received %q", got)
	}
	dial.exits(exitOK, "")
	listen.exits(exitOK, "")
	noHosts(t, tmp)
}
