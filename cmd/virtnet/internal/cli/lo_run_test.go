package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"github.com/virtnet/virtnet/internal/needs"
	"github.com/virtnet/virtnet/xnet"
)

// runCommand returns the command lo run, on the network tea as β, with these flags and, behind a "--", the program.
func runCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(must[string](t)(os.Executable()), append([]string{"lo", "run", "tea", "β"}, args...)...)
	t.Cleanup(func() {
		if cmd.Process != nil && cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return cmd
}

// runProgramEnv is the environment variable that makes the test binary a program to run.
const runProgramEnv = "VIRTNET_TEST_PROGRAM"

// asProgram returns the command line of the test binary as a program, which is for lo run.
func asProgram(t *testing.T, what string) []string {
	t.Setenv(runProgramEnv, what)
	return []string{"--", must[string](t)(os.Executable()), "-test.run=^TestRunProgram$"}
}

// TestRunProgram is no test, but a program to run.
func TestRunProgram(t *testing.T) {
	if os.Getenv(runProgramEnv) == "" {
		t.Skip("it is for other tests")
	}
	time.AfterFunc(patience, func() { os.Exit(3) }) // if the test has left it behind
	switch what, arg, _ := strings.Cut(os.Getenv(runProgramEnv), " "); what {
	case "signals": // says which it gets, until it is SIGTERM
		signals := make(chan os.Signal, 8)
		signal.Notify(signals, passedOn...)
		fmt.Println("ready")
		for s := range signals {
			fmt.Println(s)
			if s == syscall.SIGTERM {
				os.Exit(9)
			}
		}
	case "send": // sends bytes to www:80, and ends without waiting for anything
		d := must[proxy.Dialer](t)(proxy.SOCKS5("tcp", os.Getenv("VIRTNET_PROXY"), nil, nil))
		c := must[net.Conn](t)(d.Dial("tcp", "www:80"))
		if _, err := c.Write(random(1, must[int](t)(strconv.Atoi(arg)))); err != nil {
			t.Fatal(err)
		}
		os.Exit(0)
	case "serve": // answers one connection to a Unix socket with bytes, and ends without waiting for anything
		path, size, _ := strings.Cut(arg, " ")
		c := must[net.Conn](t)(must[net.Listener](t)(net.Listen("unix", path)).Accept())
		if _, err := c.Write(random(2, must[int](t)(strconv.Atoi(size)))); err != nil {
			t.Fatal(err)
		}
		os.Exit(0)
	}
}

func TestRunExitCode(t *testing.T) {
	skipWithoutSignals(t)
	sh := needs.Program(t, "sh")
	tmp := tempDir(t)
	join(t, "other", "β")
	noExec := filepath.Join(t.TempDir(), "no-exec")
	if err := os.WriteFile(noExec, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		code   int
		stdout string
		stderr string // what is in it; "" for nothing
	}{
		{[]string{"tea", "β", "--", sh, "-c", "echo out"}, 0, "out\n", ""},
		{[]string{"tea", "β", "--", sh, "-c", "echo err >&2; exit 7"}, 7, "", "err\n"},
		{[]string{"tea", "β", "--", sh, "-c", "exit 125"}, 125, "", ""},
		{[]string{"tea", "β", "--", sh, "-c", "kill -9 $$"}, 137, "", ""},
		{[]string{"tea", "β", "--", sh, "-c", "kill -TERM $$"}, 143, "", ""},
		{[]string{"tea", "β", "--", sh, "-c", "echo \"$1\"", "-", "--json"}, 0, "--json\n", ""},

		{[]string{"tea", "β", "--", "virtnet-no-such-program"}, 127, "", "virtnet lo run: exec: \"virtnet-no-such-program\": executable file not found in $PATH\n"},
		{[]string{"tea", "β", "--", filepath.Join(tmp, "none")}, 127, "", "none: no such file or directory\n"},
		{[]string{"tea", "β", "--", noExec}, 126, "", "permission denied\n"},
		{[]string{"tea", "β", "--", tmp}, 126, "", "permission denied\n"},

		{[]string{"other", "β", "--", sh}, 125, "", "virtnet lo run: host β is already on network other: choose another name"},

		{[]string{"tea"}, 2, "", "virtnet lo run: HOST is missing\nRun \"virtnet lo run --help\" for help.\n"},
		{[]string{"tea", "β"}, 2, "", "virtnet lo run: COMMAND is missing: it comes after --, as in "},
		{[]string{"tea", "β", "--"}, 2, "", "virtnet lo run: COMMAND is missing: it comes after --, as in "},
		{[]string{"tea", "β", sh}, 2, "", "the program comes after --\n"},
		{[]string{"tea", "β", sh, "--", sh}, 2, "", "virtnet lo run: unexpected argument "},
		{[]string{"tea", "--", sh}, 2, "", "virtnet lo run: HOST is missing\n"},
		{[]string{"tea", "a/b", "--", sh}, 2, "", "virtnet lo run: host: "},
		{[]string{"tea", "β", "--max", "0", "--", sh}, 2, "", "virtnet lo run: --max 0: it is 1 or more\n"},
		{[]string{"tea", "β", "--expose", "80", "--", sh}, 2, "", "virtnet lo run: --expose 80: it is PORT=TARGET, such as 80=:8000\n"},
		{[]string{"tea", "β", "--expose", "0=:80", "--", sh}, 2, "", "virtnet lo run: --expose 0=:80: invalid port \"0\": it is one from 1 to 2147483647\n"},
		{[]string{"tea", "β", "--expose", "α:80=:80", "--", sh}, 2, "", "invalid port \"α:80\""},
		{[]string{"tea", "β", "--expose", "80=:1", "--expose", "80=:2", "--", sh}, 2, "", "--expose 80=:2: port 80 is exposed already"},
		{[]string{"tea", "β", "--expose", "80=x", "--", sh}, 2, "", "virtnet lo run: address \"x\": invalid port"},
	} {
		code, stdout, stderr := run(append([]string{"lo", "run"}, test.args...)...)
		if code != test.code || stdout != test.stdout || !strings.Contains(stderr, test.stderr) || test.stderr == "" && stderr != "" {
			t.Errorf("lo run %q: exit code %d, want %d; stdout %q, want %q; stderr %q, want %q", test.args, code, test.code, stdout, test.stdout, stderr, test.stderr)
		}
	}
	noHosts(t, tmp)
}

func TestRunEnv(t *testing.T) {
	old := []string{"PATH=/bin", "Http_Proxy=old", "HTTP_PROXY=old", "ftp_proxy=old", "FTP_PROXY=old", "no_proxy=old", "VIRTNET_HOST=old", "ALL_PROXY_NOT=stays", "EMPTY="}
	got := runEnv(old, "tea", "β", "127.0.0.1:5")
	want := []string{
		"PATH=/bin", "ALL_PROXY_NOT=stays", "EMPTY=",
		"VIRTNET_NETWORK=tea", "VIRTNET_HOST=β", "VIRTNET_PROXY=127.0.0.1:5",
		"http_proxy=http://127.0.0.1:5", "HTTP_PROXY=http://127.0.0.1:5",
		"https_proxy=http://127.0.0.1:5", "HTTPS_PROXY=http://127.0.0.1:5",
		"all_proxy=socks5h://127.0.0.1:5", "ALL_PROXY=socks5h://127.0.0.1:5",
		"no_proxy=", "NO_PROXY=",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if old[1] != "Http_Proxy=old" {
		t.Error("the old environment has changed")
	}
}

// Unmodified programs live on the network.
func TestRunPrograms(t *testing.T) {
	tmp := tempDir(t)
	alpha := newVirtualHost(t, "α")
	serveWeb(t, alpha, "80", func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.RemoteAddr, r.URL.Path) })
	t.Setenv("NO_PROXY", "α,xn--mxa") // which is not for the program
	t.Run("curl", func(t *testing.T) {
		curl := needs.Program(t, "curl")
		exitsWith(t, runCommand(t, "--", curl, "-sS", "http://α/c"), 0, "β:1/c")
		exitsWith(t, runCommand(t, "--", curl, "-sS", "--fail", "http://α:81/"), 22, "")
	})
	t.Run("python", func(t *testing.T) {
		python := needs.Program(t, "python3", "python")
		exitsWith(t, runCommand(t, "--", python, "-c", "import urllib.request as u; print(u.urlopen('http://xn--mxa/p').read().decode())"), 0, "β:1/p")
	})
	t.Run("wget", func(t *testing.T) {
		exitsWith(t, runCommand(t, "--", needs.Program(t, "wget"), "-q", "-O", "-", "http://xn--mxa/w"), 0, "β:1/w")
	})
	t.Run("git", func(t *testing.T) {
		git := needs.Program(t, "git")
		repo := filepath.Join(t.TempDir(), "repo.git")
		for _, args := range [][]string{
			{"init", "-q", "--bare", repo},
			{"-C", repo, "-c", "user.name=x", "-c", "user.email=x", "commit-tree", "-m", "x", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"},
		} {
			cmd := exec.Command(git, args...)
			cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null")
			if args[0] == "-C" {
				exitsWith(t, exec.Command(git, "-C", repo, "hash-object", "-t", "tree", "-w", "--stdin"), 0, "4b825dc")
			}
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			if commit := strings.TrimSpace(string(out)); commit != "" {
				exitsWith(t, exec.Command(git, "-C", repo, "update-ref", "HEAD", commit), 0, "")
				exitsWith(t, exec.Command(git, "-C", repo, "update-server-info"), 0, "")
			}
		}
		files := http.FileServer(http.Dir(filepath.Dir(repo)))
		serveWeb(t, alpha, "8080", files.ServeHTTP)
		clone := filepath.Join(t.TempDir(), "clone")
		exitsWith(t, runCommand(t, "--", git, "clone", "-q", "http://xn--mxa:8080/repo.git", clone), 0, "")
		exitsWith(t, exec.Command(git, "-C", clone, "log", "--format=%s"), 0, "x\n")
	})
	if _, stdout, _ := run("lo", "ls", "tea"); strings.Contains(stdout, "β") {
		t.Errorf("β is still there:\n%s", stdout)
	}
	if marks, _ := filepath.Glob(filepath.Join(tmp, "lonet", "tea", "*.live")); len(marks) != 1 {
		t.Errorf("marks of life: %q, want one", marks)
	}
}

// freePort returns a port of the loopback interface that is free now, and that the system gives to nobody who doesn't
// ask for it.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := fmt.Sprint(10000 + rand.N(20000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("there is no free port")
	return ""
}

// An unmodified server lives on the network.
func TestRunServer(t *testing.T) {
	skipWithoutSignals(t)
	python := needs.Program(t, "python3", "python")
	tmp := tempDir(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("some text"), 0o600); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	server := runCommand(t, "--expose", "80=:"+port, "--expose", "2147483647=127.0.0.1:"+port, "-v",
		"--", python, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", dir, port)
	var stderr output
	server.Stderr = &stderr
	out := bufio.NewReader(must[io.ReadCloser](t)(server.StdoutPipe()))
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := out.ReadString('\n'); !strings.HasPrefix(line, "Serving HTTP on 127.0.0.1") {
		t.Fatalf("it says %q, %v", line, err)
	}
	client := newVirtualHost(t, "γ")
	web := http.Client{Transport: &http.Transport{DialContext: client.DialContext, DisableKeepAlives: true}, Timeout: patience}
	res := must[*http.Response](t)(web.Get("http://β/file"))
	if got := readAll(t, res.Body); string(got) != "some text" {
		t.Errorf("got %q", got)
	}
	c := must[net.Conn](t)(client.Dial(t.Context(), "β:2147483647"))
	c.Close()
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	server.Wait()
	if code := server.ProcessState.ExitCode(); code != 143 {
		t.Errorf("exit code %d, want 143", code)
	}
	for _, want := range []string{
		"virtnet lo run: β:80 on network tea leads to 127.0.0.1:" + port + "\n",
		"virtnet lo run: the program's proxy to network tea, as host β, is 127.0.0.1:",
		"-> 127.0.0.1:" + port + ": open\n",
	} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("stderr %q, want %q", stderr.String(), want)
		}
	}
	if _, err := client.Dial(t.Context(), "β:80"); err == nil {
		t.Error("the server is still on the network")
	}
	if marks, _ := filepath.Glob(filepath.Join(tmp, "lonet", "tea", "*.live")); len(marks) != 1 {
		t.Errorf("marks of life: %q, want the client's", marks)
	}
}

// What a program sends arrives, also when it ends at once.
func TestRunLastWords(t *testing.T) {
	const size = 1 << 20
	t.Run("of a client", func(t *testing.T) {
		tempDir(t)
		l := must[xnet.Listener](t)(newVirtualHost(t, "www").Listen(t.Context(), ":80"))
		received := make(chan error, 1)
		go func() {
			c, err := l.Accept(context.Background())
			if err != nil {
				received <- err
				return
			}
			defer c.Close()
			time.Sleep(50 * time.Millisecond) // by which the program has most likely ended
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, random(1, size)) {
				err = errors.Join(fmt.Errorf("%d bytes", len(got)), err)
				received <- err
				return
			}
			received <- nil
		}()
		exitsWith(t, runCommand(t, asProgram(t, fmt.Sprint("send ", size))...), 0, "")
		if err := <-received; err != nil {
			t.Errorf("received: %v", err)
		}
	})
	t.Run("of a server", func(t *testing.T) {
		tempDir(t)
		path := filepath.Join(must[string](t)(os.MkdirTemp("", "v")), "s")
		server := runCommand(t, append([]string{"--expose", "80=unix:" + path}, asProgram(t, fmt.Sprint("serve ", path, " ", size))...)...)
		server.Stderr = t.Output()
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		client := newVirtualHost(t, "γ")
		first := make([]byte, 1)
		var c net.Conn
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			c = must[net.Conn](t)(dialPatiently(t.Context(), client, "β:80", patience))
			if _, err := io.ReadFull(c, first); err == nil {
				break
			} else if c.Close(); time.Now().After(deadline) {
				t.Fatal(err) // it is reset for as long as the program does not listen
			}
		}
		time.Sleep(50 * time.Millisecond) // by which the program has most likely ended
		if rest, err := io.ReadAll(c); err != nil || !bytes.Equal(append(first, rest...), random(2, size)) {
			t.Errorf("received %d bytes, %v", 1+len(rest), err)
		}
		c.Close()
		if err := server.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// A program gets the signals that are meant for it.
func TestRunSignals(t *testing.T) {
	skipWithoutSignals(t)
	tmp := tempDir(t)
	cmd := runCommand(t, asProgram(t, "signals")...)
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = noTerminal()
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
	for _, s := range passedOn {
		if s == syscall.SIGTERM {
			continue
		}
		for range 2 { // one does not end lo run
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			next(s.String())
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	next("terminated")
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 9 {
		t.Errorf("exit code %d, want the program's", code)
	}
	noHosts(t, tmp)
}

// Run has nothing to say, and hands on standard input.
func TestRunStreams(t *testing.T) {
	sh := needs.Program(t, "sh")
	tempDir(t)
	cmd := runCommand(t, "--", sh, "-c", "cat; echo err >&2")
	cmd.Stdin = strings.NewReader("in")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil || out.String() != "in" || errOut.String() != "err\n" {
		t.Errorf("stdout %q, stderr %q, %v", &out, &errOut, err)
	}
}

func TestRunJSON(t *testing.T) {
	tempDir(t)
	cmd := runCommand(t, "--json", "--expose", "80=:8000", "--", needs.Program(t, "curl"), "-s", "http://none/")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"event":"ready","network":"tea","host":"β","listen":"β:80","target":"127.0.0.1:8000","text":"β:80 on network tea leads to 127.0.0.1:8000"}`,
		`"event":"ready","network":"tea","host":"β","listen":"127.0.0.1:`,
		`"event":"refused","conn":1,"from":"127.0.0.1:`,
		`"protocol":"http","to":"none:80","error":"dial lonettea`,
	} {
		if !strings.Contains(errOut.String(), want) {
			t.Errorf("stderr %s, want %s", &errOut, want)
		}
	}
}

// A run that is killed takes the proxy with it, and resets what goes through.
func TestRunKilled(t *testing.T) {
	skipWithoutSignals(t)
	curl := needs.Program(t, "curl")
	tempDir(t)
	ended := make(chan error, 1)
	serveWeb(t, newVirtualHost(t, "www"), "80", endlessly(ended))
	cmd := runCommand(t, "--", curl, "-sS", "--no-buffer", "--proxytunnel", "http://www/")
	end := firstByte(t, cmd)
	cmd.Process.Kill()
	if err := <-ended; err == nil {
		t.Error("the server could go on")
	}
	if err := <-end; err == nil {
		t.Error("run has ended in good order")
	}
	join(t, "tea", "β") // the name is free
}

func TestRunComplete(t *testing.T) {
	tempDir(t)
	join(t, "tea")
	for args, want := range map[string]string{
		"run ":         "tea\n:4\n",
		"run tea ":     ":4\n",
		"run tea β c":  ":0\n",
		"proxy ":       "tea\n:4\n",
		"proxy tea β ": ":4\n",
	} {
		if _, stdout, _ := run(append([]string{"__complete", "lo"}, strings.Split(args, " ")...)...); stdout != want {
			t.Errorf("%s: %q, want %q", args, stdout, want)
		}
	}
}
