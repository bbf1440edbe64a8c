package virtnettest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/xnet"
)

var churnClauses = []clause{{
	name: "Churn",
	why:  "many goroutines that dial, listen, accept and close at once get results that the operation can have, and in the end every port is free",
	run:  testChurn,
}, {
	name: "ChurnOfHosts",
	why:  "hosts that come and go while others dial them give connections, or the errors for it, and nothing stays",
	run:  testChurnOfHosts,
}}

const (
	churners    = 16
	churnRounds = 40
)

// inParallel runs f in as many goroutines as churners says.
func inParallel(w *world, f func(i int) error) {
	w.Helper()
	var wg sync.WaitGroup
	errs := make([]error, churners)
	all := start("the goroutines together", func() (bool, error) {
		for i := range churners {
			wg.Go(func() { errs[i] = f(i) })
		}
		wg.Wait()
		return true, errors.Join(errs...)
	})
	if _, err := all.wait(w); err != nil {
		w.Error(err)
	}
}

func testChurn(w *world) {
	a, b := w.pair()
	hosts := []*virtnet.Host{a, b}
	inParallel(w, func(i int) error {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		for range churnRounds {
			if err := churn(w.ctx, rng, hosts); err != nil {
				return err
			}
		}
		return nil
	})
	w.settle()
	w.wantFree(a, 1, "when all is closed")
	w.wantFree(b, 1, "when all is closed")
	w.connect(a, w.listen(b, ":1"))
}

// churn does one thing and checks that its result is one it can have.
func churn(ctx context.Context, rng *rand.Rand, hosts []*virtnet.Host) error {
	h, other := hosts[rng.IntN(len(hosts))], hosts[rng.IntN(len(hosts))]
	port := strconv.Itoa(1 + rng.IntN(24))
	ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if rng.IntN(2) == 0 {
		c, err := h.Dial(ctx, other.Name()+":"+port)
		if err == nil {
			return use(c)
		}
		return oneOf("Dial", err, virtnet.ErrConnRefused, context.DeadlineExceeded)
	}
	l, err := h.Listen(ctx, ":"+strconv.Itoa(rng.IntN(24)))
	if err != nil {
		return oneOf("Listen", err, virtnet.ErrAddrAlreadyUsed, context.DeadlineExceeded)
	}
	defer l.Close()
	for range 3 {
		c, err := l.Accept(ctx)
		if err != nil {
			return oneOf("Accept", err, context.DeadlineExceeded)
		}
		if err := use(c); err != nil {
			return err
		}
	}
	return nil
}

// use writes a little to a connection and closes it; whatever the other end does meanwhile is fine.
func use(c net.Conn) error {
	serr := c.SetDeadline(time.Now().Add(time.Millisecond))
	if serr != nil { // it can be that the other end is gone; a Read without a deadline may then wait for ever
		serr = errors.Join(serr, c.Close())
		if errors.Is(serr, net.ErrClosed) {
			return fmt.Errorf("SetDeadline on a connection that nobody closed on this side: %w", serr)
		}
		return nil
	}
	_, werr := c.Write([]byte("x"))
	_, rerr := c.Read(make([]byte, 1))
	for _, err := range []error{werr, rerr} {
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("on a connection that nobody closed on this side: %w", err)
		}
	}
	return c.Close()
}

// oneOf checks that an error is one of those.
func oneOf(what string, err error, causes ...error) error {
	for _, c := range causes {
		if errors.Is(err, c) {
			return nil
		}
	}
	return fmt.Errorf("%s: error %v, want one of %q", what, err, causes)
}

func testChurnOfHosts(w *world) {
	b := w.host(1, "β")
	lb := w.listen(b, ":1")
	serve(w, lb)
	// Where the queue has no room for all, a dial may be refused.
	crowded := w.backlog() < 2*churners
	inParallel(w, func(i int) error {
		sub := w.subs[i%len(w.subs)]
		name := "h" + strconv.Itoa(i%(churners/2)) // two goroutines want each name
		for range churnRounds / 4 {
			h, err := sub.NewHost(w.ctx, name)
			if err != nil {
				if err := oneOf("NewHost", err, virtnet.ErrHostDup); err != nil {
					return err
				}
				continue
			}
			c, err := h.Dial(w.ctx, "β:1")
			if crowded && errors.Is(err, virtnet.ErrConnRefused) {
				if err := h.Close(); err != nil {
					return fmt.Errorf("Host.Close: %w", err)
				}
				continue
			}
			if err != nil {
				return fmt.Errorf("dial from a new host: %w", err)
			}
			if got, want := c.LocalAddr().String(), name+":1"; got != want {
				return fmt.Errorf("a new host dials from %s, want %s", got, want)
			}
			closed := make(chan error, 1)
			go func() { closed <- h.Close() }()
			late, err := h.Dial(w.ctx, "β:1")
			if err != nil && !(crowded && errors.Is(err, virtnet.ErrConnRefused)) {
				if err := oneOf("Dial while the host closes", err, virtnet.ErrHostDown); err != nil {
					return err
				}
			}
			if err := <-closed; err != nil {
				return fmt.Errorf("Host.Close: %w", err)
			}
			for _, c := range []net.Conn{c, late} {
				if c == nil {
					continue
				}
				if err := goneFrom(c); err != nil {
					return err
				}
			}
		}
		return nil
	})
	startDial(w.ctx, w.host(0, "α"), "β:1").succeeds(w)
}

// goneFrom checks that a connection is of a host that is down.
func goneFrom(c net.Conn) error {
	_, err := c.Read(make([]byte, 1))
	return oneOf("Read when the host is closed", err, virtnet.ErrHostDown)
}

// serve accepts, and closes what it accepts once the other end did, until the test ends.
func serve(w *world, l xnet.Listener) {
	ctx, cancel := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept(ctx)
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = c.Read(make([]byte, 1))
				_ = c.Close()
			})
		}
	})
	w.Cleanup(func() {
		cancel()
		_ = l.Close()
		wg.Wait()
	})
}
