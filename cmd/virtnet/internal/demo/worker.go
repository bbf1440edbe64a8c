package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A worker is one of the demo's processes, as the parent sees it.
type worker struct {
	host   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr strings.Builder // readable once gone is closed
	gone   chan struct{}   // closed when the process has ended
}

// start starts a process and gives it its task. What it tells goes to heard, as does its end, until quit is closed.
func start(command []string, t task, heard chan<- event, quit <-chan struct{}) (*worker, error) {
	w := &worker{host: t.Host, cmd: exec.Command(command[0], command[1:]...), gone: make(chan struct{})}
	w.cmd.Stderr = &w.stderr
	stdin, err := w.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	w.stdin = stdin
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	go w.listen(stdout, heard, quit)
	// A process that is dead already is heard of as ended.
	json.NewEncoder(stdin).Encode(t)
	return w, nil
}

// listen passes on what the process tells, until it has ended.
func (w *worker) listen(stdout io.Reader, heard chan<- event, quit <-chan struct{}) {
	send := func(e event) {
		select {
		case heard <- e:
		case <-quit:
		}
	}
	dec := json.NewDecoder(stdout)
	for {
		var e event
		if dec.Decode(&e) != nil {
			break
		}
		send(e)
	}
	io.Copy(io.Discard, stdout) // words that are not ours must not block it
	err := w.cmd.Wait()
	close(w.gone)
	send(event{Kind: ended, Host: w.host, PID: w.pid(), Error: w.epitaph(err)})
}

func (w *worker) pid() int { return w.cmd.Process.Pid }

// epitaph says how the process ended: its last line on standard error, or else its status.
func (w *worker) epitaph(err error) string {
	lines := strings.Split(strings.TrimSpace(w.stderr.String()), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	if err != nil {
		return err.Error()
	}
	return "exit status 0"
}

// end lets the process end by itself, and kills it if it has not within limit. It is an error if that was necessary.
func (w *worker) end(limit time.Duration) error {
	w.stdin.Close()
	select {
	case <-w.gone:
		return nil
	case <-time.After(limit):
	}
	if err := w.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-w.gone // the kernel's part, which does not fail
	return fmt.Errorf("process %d did not end by itself within %v", w.pid(), limit)
}
