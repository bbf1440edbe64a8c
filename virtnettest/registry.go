package virtnettest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/virtnet/virtnet"
)

// Registries says how to make registries of one kind, and what they can do. Open is all that is needed.
type Registries struct {
	// Open makes a fresh registry with no host in it, and returns n openings of it: such as n sub-networks of
	// one network have. A kind of registry that cannot be opened so often returns fewer, but at least one; n is 1 or
	// 2. The suite closes them. What their Close does not release is for t.Cleanup.
	Open func(t testing.TB, n int) []virtnet.Registry

	// Hostdata returns what is announced through an opening, for registries that take nothing else. If it is
	// nil, they take anything.
	Hostdata func(r virtnet.Registry) string
}

// TestRegistry runs the conformance suite of registries.
func TestRegistry(t *testing.T, r Registries) {
	for _, c := range registryClauses {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("what is demanded: %s", c.why)
				}
			})
			NoLeaks(t)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			t.Cleanup(cancel)
			regs := r.Open(t, c.openings)
			t.Cleanup(func() {
				for _, reg := range regs {
					if err := reg.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				}
			})
			if len(regs) < c.openings {
				t.Skip("these registries are opened once only")
			}
			c.run(&registryWorld{T: t, kind: r, ctx: ctx, regs: regs, r: regs[0]})
		})
	}
}

type registryWorld struct {
	*testing.T
	kind Registries
	ctx  context.Context
	regs []virtnet.Registry
	r    virtnet.Registry // the first of them
}

// data is d, or what r takes instead.
func (w *registryWorld) data(r virtnet.Registry, d string) string {
	if w.kind.Hostdata != nil {
		return w.kind.Hostdata(r)
	}
	return d
}

// announceErr announces a host, with data if r takes that.
func (w *registryWorld) announceErr(ctx context.Context, r virtnet.Registry, host, data string) error {
	return r.Announce(ctx, host, w.data(r, data))
}

// withdraw takes an announcement through r back.
func (w *registryWorld) withdraw(r virtnet.Registry, host, data string) error {
	w.Helper()
	return w.withdrawer(r).Withdraw(w.ctx, host, w.data(r, data))
}

var registryClauses = []struct {
	name     string
	why      string
	openings int
	run      func(w *registryWorld)
}{
	{"Announce", "Query returns what was announced, byte for byte", 1, testAnnounce},
	{"Shared", "what is announced through one opening is found through another, at once", 2, testShared},
	{"NoHost", "Query of a name that nobody announced: a *RegistryError with the cause ErrNoHost", 1, testNoHost},
	{"Dup", "Announce of a name that is announced: a *RegistryError with the cause ErrHostDup, and the first announcement stays", 1, testDup},
	{"DupShared", "as Dup, when the two are announced through different openings", 2, testDupShared},
	{"Withdraw", "Withdraw takes back what this opening announced with that hostdata, and nothing else; the name is free then", 1, testWithdraw},
	{"WithdrawShared", "Withdraw takes nothing back that was announced through another opening", 2, testWithdrawShared},
	{"CloseWithdraws", "Close withdraws what was announced through this opening, and only that", 2, testCloseWithdraws},
	{"Closed", "after Close every operation fails with ErrRegistryDown; a second Close returns nil", 1, testRegistryClosed},
	{"Context", "under a context that is done an operation gives its result, or the context's error, by which errors.Is finds it", 1, testRegistryContext},
	{"OneWins", "of many who announce one name at the same time, one succeeds and the others get ErrHostDup", 2, testOneWins},
	{"Concurrent", "announcing, asking and withdrawing at the same time disturb each other in nothing", 1, testRegistryConcurrent},
	{"CloseInterrupts", "operations in progress end when the registry is closed, with their result or with ErrRegistryDown", 1, testCloseInterrupts},
}

// wantRegistryError checks the error of an operation on a host.
func (w *registryWorld) wantRegistryError(op, host string, err, cause error) {
	w.Helper()
	re, ok := err.(*virtnet.RegistryError)
	switch {
	case !ok:
		w.Errorf("%s(%q): error %q (a %T), want a *virtnet.RegistryError", op, host, errText(err), err)
	case !errors.Is(err, cause):
		w.Errorf("%s(%q): error %q, want the cause %q", op, host, err, cause)
	case re.Op != op || re.Registry == "" || !strings.Contains(fmt.Sprint(re.Args), host):
		w.Errorf("%s(%q): error of registry %q, operation %q, arguments %v: want its name, %q, and the host", op, host, re.Registry, re.Op, re.Args, op)
	}
	if cause == virtnet.ErrRegistryDown && !errors.Is(err, net.ErrClosed) {
		w.Errorf("%s(%q): error %q, want it to match net.ErrClosed", op, host, err)
	}
}

// announce announces a host, which has to succeed.
func (w *registryWorld) announce(r virtnet.Registry, host, data string) {
	w.Helper()
	if err := w.announceErr(w.ctx, r, host, data); err != nil {
		w.Fatalf("Announce(%q): %v", host, err)
	}
}

// wantData checks what asked has of a host that was announced through r.
func (w *registryWorld) wantData(asked, r virtnet.Registry, host, data string) {
	w.Helper()
	data = w.data(r, data)
	if got, err := asked.Query(w.ctx, host); err != nil || got != data {
		w.Errorf("Query(%q) = %q, %v, want %q", host, got, err, data)
	}
}

func (w *registryWorld) wantNoHost(r virtnet.Registry, host string) {
	w.Helper()
	_, err := r.Query(w.ctx, host)
	w.wantRegistryError("query", host, err, virtnet.ErrNoHost)
}

// withdrawer returns the registry's Withdraw, or skips.
func (w *registryWorld) withdrawer(r virtnet.Registry) virtnet.Withdrawer {
	w.Helper()
	wd, ok := r.(virtnet.Withdrawer)
	if !ok {
		w.Skip("the registry is no virtnet.Withdrawer")
	}
	return wd
}

func testAnnounce(w *registryWorld) {
	data := map[string]string{
		"α": "127.0.0.1:4001", "β": "", "a b": "ü", `q"'`: `x"'; DROP TABLE hosts; --`, "B": "upper", "b": "lower",
		"é": "composed", "e\u0301": "decomposed", strings.Repeat("n", 253): strings.Repeat("d", 1000), "1": "0x1", "%s": "%d",
	}
	for host, d := range data {
		w.announce(w.r, host, d)
	}
	for range 2 {
		for host, d := range data {
			w.wantData(w.r, w.r, host, d)
		}
	}
}

func testShared(w *registryWorld) {
	for i, r := range w.regs {
		other := w.regs[1-i]
		host := "h" + strconv.Itoa(i)
		w.wantNoHost(other, host)
		w.announce(r, host, "data")
		w.wantData(other, r, host, "data")
	}
}

func testNoHost(w *registryWorld) {
	w.announce(w.r, "α", "x")
	for _, host := range []string{"β", "", "α ", "Α", "%", "a\x00b", "α\x00", "\xff"} {
		w.wantNoHost(w.r, host)
	}
}

func testDup(w *registryWorld) { dup(w, w.r) }

func testDupShared(w *registryWorld) { dup(w, w.regs[1]) }

// dup announces a name again, through second.
func dup(w *registryWorld, second virtnet.Registry) {
	w.announce(w.r, "α", "first")
	for _, d := range []string{"second", "first"} {
		w.wantRegistryError("announce", "α", w.announceErr(w.ctx, second, "α", d), virtnet.ErrHostDup)
		w.wantData(second, w.r, "α", "first")
	}
}

func testWithdraw(w *registryWorld) {
	wd := w.withdrawer(w.r)
	w.announce(w.r, "α", "x")
	w.announce(w.r, "β", "x")
	_ = wd.Withdraw(w.ctx, "α", "y") // whether that is an error is the registry's business
	w.wantData(w.r, w.r, "α", "x")
	_ = w.withdraw(w.r, "γ", "x")
	for range 3 {
		if err := w.withdraw(w.r, "α", "x"); err != nil {
			w.Errorf("Withdraw: %v", err)
		}
		w.wantNoHost(w.r, "α")
		w.wantData(w.r, w.r, "β", "x")
		w.announce(w.r, "α", "x")
	}
}

func testWithdrawShared(w *registryWorld) {
	other := w.regs[1]
	w.announce(w.r, "α", "x")
	_ = w.withdrawer(other).Withdraw(w.ctx, "α", w.data(w.r, "x"))
	w.wantData(w.r, w.r, "α", "x")

	// What was withdrawn is free for the other.
	if err := w.withdraw(w.r, "α", "x"); err != nil {
		w.Errorf("Withdraw: %v", err)
	}
	w.announce(other, "α", "z")
	_ = w.withdraw(w.r, "α", "x")
	w.wantData(w.r, other, "α", "z")
}

func testCloseWithdraws(w *registryWorld) {
	other := w.regs[1]
	w.announce(w.r, "α", "x")
	w.announce(other, "β", "y")
	if err := w.r.Close(); err != nil {
		w.Fatalf("Close: %v", err)
	}
	w.wantNoHost(other, "α")
	w.wantData(other, other, "β", "y")
	w.announce(other, "α", "z")
	w.wantData(other, other, "α", "z")
}

func testRegistryClosed(w *registryWorld) {
	w.announce(w.r, "α", "x")
	for range 2 {
		if err := w.r.Close(); err != nil {
			w.Errorf("Close: %v", err)
		}
		w.wantRegistryError("announce", "β", w.announceErr(w.ctx, w.r, "β", "x"), virtnet.ErrRegistryDown)
		for _, host := range []string{"α", "β"} {
			_, err := w.r.Query(w.ctx, host)
			w.wantRegistryError("query", host, err, virtnet.ErrRegistryDown)
		}
	}
	if err := w.withdraw(w.r, "α", "x"); err != nil && !errors.Is(err, virtnet.ErrRegistryDown) {
		w.Errorf("Withdraw after Close: %v, want ErrRegistryDown or nil", err)
	}
}

func testRegistryContext(w *registryWorld) {
	w.announce(w.r, "α", "x")
	cancelled, cancel := context.WithCancel(w.ctx)
	cancel()
	expired, cancel := context.WithTimeout(w.ctx, -1)
	defer cancel()
	for _, ctx := range []context.Context{cancelled, expired} {
		if d, err := w.r.Query(ctx, "α"); err == nil && d != w.data(w.r, "x") || err != nil && !errors.Is(err, ctx.Err()) {
			w.Errorf("Query under a context that is done: %q, %v, want %q, or %q", d, err, w.data(w.r, "x"), ctx.Err())
		}
		if _, err := w.r.Query(ctx, "β"); !errors.Is(err, ctx.Err()) && !errors.Is(err, virtnet.ErrNoHost) {
			w.Errorf("Query under a context that is done: %v, want ErrNoHost or %q", err, ctx.Err())
		}
		host := fmt.Sprint(ctx.Err())
		err := w.announceErr(ctx, w.r, host, "x")
		if err == nil {
			w.wantData(w.r, w.r, host, "x")
			continue
		}
		if !errors.Is(err, ctx.Err()) {
			w.Errorf("Announce under a context that is done: %v, want nil or %q", err, ctx.Err())
		}
		w.wantNoHost(w.r, host)
	}
}

func testOneWins(w *registryWorld) {
	for round := range 10 {
		host := "h" + strconv.Itoa(round)
		var wg sync.WaitGroup
		errs := make([]error, churners)
		for i := range errs {
			wg.Go(func() { errs[i] = w.announceErr(w.ctx, w.regs[i%2], host, strconv.Itoa(i)) })
		}
		wg.Wait()
		winners := 0
		for i, err := range errs {
			if err == nil {
				winners++
				w.wantData(w.regs[0], w.regs[i%2], host, strconv.Itoa(i))
				w.wantData(w.regs[1], w.regs[i%2], host, strconv.Itoa(i))
				continue
			}
			w.wantRegistryError("announce", host, err, virtnet.ErrHostDup)
		}
		if winners != 1 {
			w.Fatalf("%d of %d who announced %s at the same time succeed, want 1", winners, len(errs), host)
		}
	}
}

func testRegistryConcurrent(w *registryWorld) {
	_, withdraws := w.r.(virtnet.Withdrawer)
	var wg sync.WaitGroup
	for i := range churners {
		wg.Go(func() {
			for j := range churnRounds {
				host := fmt.Sprintf("h%d.%d", i, j)
				if err := w.announceErr(w.ctx, w.r, host, host); err != nil {
					w.Errorf("Announce: %v", err)
					return
				}
				w.wantData(w.r, w.r, host, host)
				if !withdraws || j%2 == 0 {
					continue
				}
				if err := w.withdraw(w.r, host, host); err != nil {
					w.Errorf("Withdraw: %v", err)
				}
				w.wantNoHost(w.r, host)
			}
		})
	}
	wg.Wait()
	for i := range churners {
		host := fmt.Sprintf("h%d.0", i)
		w.wantData(w.r, w.r, host, host)
	}
}

func testCloseInterrupts(w *registryWorld) {
	var wg sync.WaitGroup
	for i := range churners {
		wg.Go(func() {
			for j := 0; ; j++ { // until it is closed; each operation is bounded by the context
				host := fmt.Sprintf("h%d.%d", i, j)
				err := w.announceErr(w.ctx, w.r, host, "x")
				if err == nil {
					_, err = w.r.Query(w.ctx, host)
				}
				if err != nil {
					if !errors.Is(err, virtnet.ErrRegistryDown) {
						w.Errorf("operation while the registry is closed: %v, want ErrRegistryDown", err)
					}
					return
				}
			}
		})
	}
	if err := w.r.Close(); err != nil {
		w.Errorf("Close: %v", err)
	}
	wg.Wait()
}
