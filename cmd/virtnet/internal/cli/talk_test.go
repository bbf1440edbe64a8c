package cli

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// random returns n bytes that are the same for the same seed.
func random(seed, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// input makes these bytes, from a file, the standard input.
func input(t *testing.T, data []byte) func(*exec.Cmd) {
	f := must[*os.File](t)(os.CreateTemp(t.TempDir(), "input"))
	must[int](t)(f.Write(data))
	must[int64](t)(f.Seek(0, io.SeekStart))
	t.Cleanup(func() { f.Close() })
	return func(cmd *exec.Cmd) { cmd.Stdin = f }
}

// readAll returns what comes on a pipe until its end, which comes soon.
func readAll(t *testing.T, r io.Reader) []byte {
	t.Helper()
	if f, ok := r.(*os.File); ok {
		f.SetReadDeadline(time.Now().Add(patience))
	}
	return must[[]byte](t)(io.ReadAll(r))
}

// skipWithoutSignals skips a test where processes cannot be sent signals.
func skipWithoutSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent a signal")
	}
}

// Megabytes in both directions, byte for byte, through pipes and from files.
func TestTalk(t *testing.T) {
	tmp := tempDir(t)
	there, back := random(1, 5<<20+13), random(2, 3<<20+7)
	for _, files := range []bool{false, true} {
		set := func(*exec.Cmd) {}
		if files {
			set = input(t, back)
		}
		listen := launchWith(t, set, "lo", "listen", "tea", "α:1")
		listen.until(eventReady)
		if files {
			set = input(t, there)
		}
		dial := launchWith(t, set, "lo", "dial", "tea", "α:1")
		if !files {
			go func() { listen.stdin.Write(back); listen.stdin.Close() }()
			go func() { dial.stdin.Write(there); dial.stdin.Close() }()
		}
		received := make(chan []byte, 1)
		go func() {
			b, _ := io.ReadAll(dial.stdout)
			received <- b
		}()
		if got := readAll(t, listen.stdout); !bytes.Equal(got, there) {
			t.Errorf("files %v: listen received %d bytes, want %d", files, len(got), len(there))
		}
		if got := <-received; !bytes.Equal(got, back) {
			t.Errorf("files %v: dial received %d bytes, want %d", files, len(got), len(back))
		}
		for _, p := range []*proc{listen, dial} {
			e := p.until(eventEnd)
			if *e.Sent != int64(len(there)) || *e.Received != int64(len(back)) || e.Error != "" {
				t.Errorf("files %v: it ended with %+v", files, e)
			}
			p.exits(exitOK, "")
		}
	}
	noHosts(t, tmp)
}

// The dialler says all it has and ends that, and the listener then says all it has: as with a program that sorts.
func TestTalkHalfClose(t *testing.T) {
	tempDir(t)
	listen := launch(t, "lo", "listen", "tea", "α:0")
	ready := listen.until(eventReady)
	if ready.Listen != "α:1" || ready.Network != "tea" || ready.Host != "α" {
		t.Errorf("ready: %+v", ready)
	}
	dial := launch(t, "lo", "dial", "--as", "β", "lonettea", ready.Listen)
	if e := listen.until(eventOpen); e.From != "β:1" || e.To != "α:2" || e.Conn != 1 {
		t.Errorf("open: %+v", e)
	}
	io.WriteString(dial.stdin, "c\nb\na\n")
	dial.stdin.Close()
	if got := readAll(t, listen.stdout); string(got) != "c\nb\na\n" { // until the end, which the dialler's is
		t.Errorf("listen received %q", got)
	}
	io.WriteString(listen.stdin, "a\nb\nc\n")
	listen.stdin.Close()
	if got := readAll(t, dial.stdout); string(got) != "a\nb\nc\n" {
		t.Errorf("dial received %q", got)
	}
	listen.exits(exitOK, "")
	dial.exits(exitOK, "")
}

// Whose standard input is empty only receives.
func TestTalkNoInput(t *testing.T) {
	tempDir(t)
	null := must[*os.File](t)(os.Open(os.DevNull))
	defer null.Close()
	nothing := func(cmd *exec.Cmd) { cmd.Stdin = null }
	data := random(3, 1<<20)
	for _, test := range []struct {
		name         string
		listen, dial func(*exec.Cmd)
		listened     []byte
		dialled      []byte
	}{
		{"neither sends", nothing, nothing, nil, nil},
		{"the dialler sends", nothing, input(t, data), data, nil},
		{"the listener sends", input(t, data), nothing, nil, data},
	} {
		listen := launchWith(t, test.listen, "lo", "listen", "tea", "α:1")
		listen.until(eventReady)
		dial := launchWith(t, test.dial, "lo", "dial", "tea", "α:1")
		dialled := make(chan []byte, 1)
		go func() {
			b, _ := io.ReadAll(dial.stdout)
			dialled <- b
		}()
		if got := readAll(t, listen.stdout); !bytes.Equal(got, test.listened) {
			t.Errorf("%s: listen received %d bytes", test.name, len(got))
		}
		if got := <-dialled; !bytes.Equal(got, test.dialled) {
			t.Errorf("%s: dial received %d bytes", test.name, len(got))
		}
		listen.exits(exitOK, "")
		dial.exits(exitOK, "")
	}
}

// connected starts lo listen and lo dial, whose standard inputs stay open, and waits until they are connected.
func connected(t *testing.T, listenFlags ...string) (listen, dial *proc) {
	t.Helper()
	listen = launch(t, append([]string{"lo", "listen", "tea", "α:1"}, listenFlags...)...)
	listen.until(eventReady)
	dial = launch(t, "lo", "dial", "tea", "α:1", "--as", "β")
	dial.until(eventOpen)
	listen.until(eventOpen)
	return listen, dial
}

// When one of the two is killed, the other ends with an error, though its standard input is still open.
func TestTalkKilled(t *testing.T) {
	tempDir(t)
	for _, killListener := range []bool{true, false} {
		victim, other := connected(t)
		if !killListener {
			victim, other = other, victim
		}
		victim.cmd.Process.Kill()
		other.exits(exitFailed, "connection reset by peer")
	}
	join(t, "tea", "α", "β") // the names are free
}

// An interrupt ends a command that waits, and one that talks; the other end is reset.
func TestTalkInterrupted(t *testing.T) {
	skipWithoutSignals(t)
	tmp := tempDir(t)
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		listen := launch(t, "lo", "listen", "tea", "α:1")
		listen.until(eventReady)
		listen.signal(sig)
		listen.exits(exitInterrupted, "virtnet lo listen: interrupted\n")

		listen, dial := connected(t)
		dial.signal(sig)
		dial.exits(exitInterrupted, "virtnet lo dial: interrupted\n")
		listen.exits(exitFailed, "virtnet lo listen: read lonettea α:2->β:1: connection reset by peer\n")
	}
	noHosts(t, tmp)
}

// An interrupt ends a command whose output nobody reads, too.
func TestTalkInterruptedBlocked(t *testing.T) {
	skipWithoutSignals(t)
	tmp := tempDir(t)
	listen, dial := connected(t)
	go io.Copy(dial.stdin, endlessText{})
	if _, err := io.ReadFull(listen.stdout, make([]byte, 1<<20)); err != nil { // and no more
		t.Fatal(err)
	}
	listen.signal(os.Interrupt)
	listen.exits(exitInterrupted, "interrupted")
	dial.exits(exitFailed, "connection reset by peer")
	noHosts(t, tmp)
}

type endlessText struct{}

func (endlessText) Read(b []byte) (int, error) {
	return copy(b, strings.Repeat("text\n", len(b)/5+1)), nil
}

// An output that nobody reads any more ends the command, as in a pipe to "head".
func TestTalkNobodyReads(t *testing.T) {
	tmp := tempDir(t)
	for _, closeListener := range []bool{true, false} {
		listen, dial := connected(t)
		reader, writer := listen, dial
		if !closeListener {
			reader, writer = dial, listen
		}
		reader.stdout.Close()
		go io.Copy(writer.stdin, endlessText{})
		reader.exits(exitFailed, "virtnet lo "+reader.cmd.Args[2]+": write ")
		writer.exits(exitFailed, "virtnet lo "+writer.cmd.Args[2]+": ")
	}
	noHosts(t, tmp)
}

// With --keep, one connection after the other is received, also after one that was reset.
func TestListenKeep(t *testing.T) {
	skipWithoutSignals(t)
	tempDir(t)
	listen := launch(t, "lo", "listen", "--keep", "tea", "α:1")
	listen.until(eventReady)
	for i, text := range []string{"one\n", "two\n", "three\n"} {
		dial := launch(t, "lo", "dial", "tea", "α:1")
		dial.until(eventOpen)
		listen.until(eventOpen)
		io.WriteString(dial.stdin, text)
		got := make([]byte, len(text))
		if _, err := io.ReadFull(listen.stdout, got); string(got) != text || err != nil {
			t.Errorf("received %q, %v, want %q", got, err, text)
		}
		if i == 1 {
			dial.cmd.Process.Kill()
		} else {
			dial.stdin.Close()
			dial.exits(exitOK, "")
		}
		if e := listen.until(eventEnd); (e.Error != "") != (i == 1) || e.Conn != i+1 {
			t.Errorf("connection %d ended with %+v", i+1, e)
		}
	}
	listen.stop()
	join(t, "tea", "α")
}

// With --keep, too, an output that nobody reads ends the command.
func TestListenKeepNobodyReads(t *testing.T) {
	tmp := tempDir(t)
	listen, dial := connected(t, "--keep")
	listen.stdout.Close()
	go io.Copy(dial.stdin, endlessText{})
	listen.exits(exitFailed, "virtnet lo listen: write ")
	dial.exits(exitFailed, "virtnet lo dial: ")
	noHosts(t, tmp)
}

// With --wait, dial may come first, even before the network.
func TestDialWait(t *testing.T) {
	tempDir(t)
	dial := launch(t, "lo", "dial", "--wait", "1m", "tea", "α:1", "--as", "β")
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, stdout, _ := run("lo", "ls", "tea"); strings.Contains(stdout, "β") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("dial is not on the network")
		}
	}
	listen := launch(t, "lo", "listen", "tea", "α:1")
	io.WriteString(dial.stdin, "hello")
	dial.stdin.Close()
	listen.stdin.Close()
	if got := readAll(t, listen.stdout); string(got) != "hello" {
		t.Errorf("received %q", got)
	}
	dial.exits(exitOK, "")
	listen.exits(exitOK, "")

	code, _, stderr := run("lo", "dial", "--wait", "50ms", "tea", "α:1")
	if code != exitFailed || !strings.Contains(stderr, "no such host") {
		t.Errorf("nobody comes: exit code %d, stderr %q", code, stderr)
	}
}

// Two that dial have names of their own.
func TestDialName(t *testing.T) {
	tempDir(t)
	name := fmt.Sprintf("dial-%d", os.Getpid()) // that of this process
	join(t, "tea", name)
	listen := launch(t, "lo", "listen", "tea", "α:1")
	listen.until(eventReady)
	listen.stdin.Close()
	if code, _, stderr := run("lo", "dial", "tea", "α:1"); code != exitOK || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if e := listen.until(eventOpen); !strings.HasPrefix(e.From, name+"-") {
		t.Errorf("the dialler is %q, want %q with something behind it", e.From, name)
	}
}
