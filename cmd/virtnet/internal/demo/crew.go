package demo

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// A crew is the processes of the demo. One goroutine has it.
type crew struct {
	command  []string
	heard    chan event         // what the processes tell, and their ends
	deaf     chan struct{}      // closed when nobody hears any more
	workers  map[string]*worker // by host
	patience time.Duration      // how long a process may take to end once it is told to
}

func newCrew(command []string) *crew {
	return &crew{
		command:  command,
		heard:    make(chan event),
		deaf:     make(chan struct{}),
		workers:  make(map[string]*worker),
		patience: 3 * time.Second,
	}
}

// start starts a process for a task.
func (c *crew) start(t task) (*worker, error) {
	w, err := start(c.command, t, c.heard, c.deaf)
	if err != nil {
		return nil, fmt.Errorf("cannot start a process for %s: %w", t.Host, err)
	}
	c.workers[t.Host] = w
	return w, nil
}

// kill ends the process of a host, as kill -9 does. It does not wait until the process has ended.
func (c *crew) kill(host string) error { return c.workers[host].cmd.Process.Kill() }

// end ends all processes, and returns once they have ended. A second end does nothing.
func (c *crew) end() error {
	select {
	case <-c.deaf:
	default:
		close(c.deaf)
	}
	var all sync.WaitGroup
	errs := make(chan error, len(c.workers))
	for _, w := range c.workers {
		all.Go(func() { errs <- w.end(c.patience) })
	}
	all.Wait()
	close(errs)
	clear(c.workers)
	var err error
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}
