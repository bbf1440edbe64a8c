package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/virtnet/virtnet"
)

// A Prober asks the process at osladdr, by a handshake that dials port 0 of the host, whether it has the host. It
// gives up when ctx ends, and then says [Silent]. An error is for what keeps it from asking, as a lack
// of descriptors.
type Prober func(ctx context.Context, osladdr, hostname string) (Answer, error)

// Answer is what a [Prober] learnt.
type Answer int

const (
	// Silent: something accepts connections and says nothing.
	Silent Answer = iota
	// Present: "connection refused", in a reply of the right network; or anything else that only a host which is
	// there gives.
	Present
	// NoSuchHost: "no such host", in a reply of the right network.
	NoSuchHost
	// Nobody: the operating system refuses the connection, or whoever took it is of another network or not of
	// lonet at all.
	Nobody
)

const (
	// silence is how long a Prober has. A process that is silent for longer may be stopped, and is alive.
	silence = time.Second
	// grace is how long an answer that may be one of the moment is not believed: see judge. Longer than closeWait.
	grace = 30 * time.Millisecond
)

// verdict is what is to become of a row whose name somebody else wants.
type verdict int

const (
	verdictAlive verdict = iota // the name is taken
	verdictStale                // the process is there, the host is not
	verdictDead                 // the process is gone, and with it all of its hosts
)

// A judge finds out what has become of who announced a host.
type judge struct {
	dir   string // of the network
	probe Prober
	life  context.Context // nothing is found out after it
}

// row finds out whether the process at osladdr still has the host.
//
//	mark        answer       verdict
//	any         present      alive
//	running     silent       alive: it may be stopped
//	unmarked    silent       alive: likewise, a process that leaves no mark
//	gone        silent       stale: the port has gone to a stranger
//	running     no such host stale: it is about to withdraw
//	gone, none  no such host stale, after grace: a process without a mark announces before it answers
//	running     nobody       alive, after grace: it may be about to close
//	gone, none  nobody       dead
//
// The answer counts even where the mark is free: the port may have gone to a process that leaves no mark.
func (j *judge) row(ctx context.Context, hostname, osladdr string) (verdict, error) {
	port, ok := parseAddr(osladdr)
	if !ok {
		return verdictAlive, fmt.Errorf("%w: %w", virtnet.ErrHostDup, badAddr(osladdr))
	}
	for start := time.Now(); ; {
		answer, err := j.ask(ctx, osladdr, hostname)
		if err != nil {
			return verdictAlive, err
		}
		// Looked at after the answer: who ends between the two is found dead a moment later, not alive.
		state, err := checkMark(markPath(j.dir, port))
		if err != nil {
			return verdictAlive, err
		}
		patient := time.Since(start) < grace
		switch running := state == Running; {
		case answer == Present:
			return verdictAlive, nil
		case answer == Silent && state == Gone:
			return verdictStale, nil
		case answer == Silent:
			return verdictAlive, nil
		case answer == NoSuchHost && (running || !patient):
			return verdictStale, nil
		case answer == Nobody && !running:
			return verdictDead, nil
		case answer == Nobody && !patient:
			return verdictAlive, nil
		}
		if err := sleep(ctx, j.life.Done(), time.Millisecond); err != nil {
			return verdictAlive, err
		}
	}
}

// ask asks the Prober for as long as life and ctx last, at most for the time of silence.
func (j *judge) ask(ctx context.Context, osladdr, hostname string) (Answer, error) {
	if j.probe == nil {
		return Silent, nil
	}
	limited, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	defer context.AfterFunc(j.life, cancel)()
	answer, err := j.probe(limited, osladdr, hostname)
	switch {
	case j.life.Err() != nil:
		return Silent, virtnet.ErrRegistryDown
	case ctx.Err() != nil:
		return Silent, ctx.Err()
	case err != nil && errors.Is(limited.Err(), context.DeadlineExceeded):
		return Silent, nil
	}
	return answer, err
}

// Gone tells, of an address at which the operating system has refused a connection, whether its process has
// ended. It is false while the process holds its mark. It never waits. The rows of the process stay, so that who
// dials its hosts hears each time what has become of them.
func (r *Registry) Gone(osladdr string) bool {
	port, ok := parseAddr(osladdr)
	if !ok {
		return false
	}
	state, err := checkMark(markPath(r.dir, port))
	return err == nil && state != Running
}

// collect removes what a dead process has left, its rows and its mark, if it left a mark and nobody is busy with
// the database. With the mark locked, no new process of ours can be at the address meanwhile.
func (r *Registry) collect(osladdr string) {
	port, ok := parseAddr(osladdr)
	if !ok {
		return
	}
	m, _, err := lockMark(markPath(r.dir, port), os.O_RDWR)
	if m == nil || err != nil {
		return
	}
	_, err = r.try(func(d *db) error {
		_, err := d.exec(deleteRowsAt, osladdr)
		return err
	})
	if err != nil {
		m.unlock()
		return
	}
	m.remove()
}
