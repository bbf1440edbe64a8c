package netem_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
	"github.com/virtnet/virtnet/netem"
	"github.com/virtnet/virtnet/pipenet"
)

// seen tells what is different about the links between four hosts: "ab" is cut, "ab=" held, and "ab:..." has rules.
func seen(em *netem.Net) string {
	var all []string
	hosts := []string{"a", "b", "c", "d"}
	for _, from := range hosts {
		for _, to := range hosts {
			l := em.Link(from, to)
			if s := l.State(); s.Cut {
				all = append(all, from+to)
			} else if s.Held {
				all = append(all, from+to+"=")
			}
			if r := l.Rules(); r != (netem.Rules{}) {
				_, rules, _ := strings.Cut(netem.At(0).All(r).String(), "all ")
				all = append(all, from+to+":"+rules)
			}
		}
	}
	return strings.Join(all, " ")
}

// watch runs a plan, and tells what is seen half a second after each second, until it is over.
func watch(ctx context.Context, em *netem.Net, p *netem.Plan) (all []string, err error) {
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, em, nil) }()
	time.Sleep(500 * ms)
	for {
		synctest.Wait()
		all = append(all, seen(em))
		select {
		case err := <-done:
			return all, err
		default:
			time.Sleep(time.Second)
		}
	}
}

// TestPlanRun has what every step does to links, second by second.
func TestPlanRun(t *testing.T) {
	const everywhere = "aa:loss=1% ab:loss=1% ac:loss=1% ad:loss=1% ba:loss=1% bb:loss=1% bc:loss=1% bd:loss=1% " +
		"ca:loss=1% cb:loss=1% cc:loss=1% cd:loss=1% da:loss=1% db:loss=1% dc:loss=1% dd:loss=1%"
	for _, x := range []struct {
		name, plan string // lines are parted by ;
		want       []string
	}{
		{"nothing", "", []string{""}},
		{"all", "0s all loss=1%; 1s all none; 2s all loss=1%", []string{everywhere, "", everywhere}},
		{"all for", "1s all loss=1% for 2s", []string{"", everywhere, everywhere, ""}},
		{"link", "0s link a -> b loss=1%; 1s link b <-> a loss=2%; 2s link a -> b none",
			[]string{"ab:loss=1%", "ab:loss=2% ba:loss=2%", "ba:loss=2%"}},
		{"links", "0s link a,b <-> b,c loss=1% for 1s; 0s link d -> d loss=1% for 1s",
			[]string{"ab:loss=1% ac:loss=1% ba:loss=1% bc:loss=1% ca:loss=1% cb:loss=1% dd:loss=1%", ""}},
		{"rules that overlap", "0s link a -> b loss=1% for 2s; 1s link a -> b loss=2% for 3s; 3s link a -> b loss=3% for 2s",
			[]string{"ab:loss=1%", "ab:loss=2%", "ab:loss=2%", "ab:loss=3%", "ab:loss=3%", ""}},
		{"rules within others", "0s link a -> b loss=1% for 3s; 1s link a -> b loss=2% for 1s",
			[]string{"ab:loss=1%", "ab:loss=2%", "ab:loss=1%", ""}},
		{"rules that stay", "0s link a -> b loss=1% for 3s; 1s link a -> b loss=2%; 2s link a -> b loss=3% for 2s",
			[]string{"ab:loss=1%", "ab:loss=2%", "ab:loss=3%", "ab:loss=3%", "ab:loss=2%"}},
		{"what ends has the network's rules", "0s link a -> b loss=2% for 1s; 2s all loss=1%", []string{"ab:loss=2%", "", everywhere}},
		{"at one time, ends first", "1s cut a -> b for 1s; 0s cut a -> b for 1s", []string{"ab", "ab", ""}},
		{"at one time, in order", "0s cut a -> b; 0s mend a -> b; 0s hold a -> c; 1s heal; 0s release a -> c; 0s hold a -> d",
			[]string{"ad=", "ad="}},
		{"hold", "0s hold a -> b; 1s release a -> b; 2s hold a <-> b for 1s", []string{"ab=", "", "ab= ba=", ""}},
		{"holds that overlap", "0s hold a -> b for 2s; 1s hold a -> b for 2s; 4s hold a -> b for 2s; 5s release a -> b",
			[]string{"ab=", "ab=", "ab=", "", "ab=", "", ""}},
		{"a hold that stays", "0s hold a -> b for 2s; 1s hold a -> b; 2s hold a -> b for 1s", []string{"ab=", "ab=", "ab=", "ab="}},
		{"cut", "0s cut a -> b,c; 1s mend a -> b; 2s cut c -> d for 1s", []string{"ab ac", "ac", "ac cd", "ac"}},
		{"clear", "0s cut a -> b for 4s; 0s all loss=1% for 4s; 0s hold c -> d; 0s isolate d for 2s; 1s clear; " +
			"3s link a -> b loss=2%; 4s clear a -> b",
			[]string{"aa:loss=1% ab ab:loss=1% ac:loss=1% ad ad:loss=1% ba:loss=1% bb:loss=1% bc:loss=1% bd bd:loss=1% " +
				"ca:loss=1% cb:loss=1% cc:loss=1% cd cd:loss=1% da da:loss=1% db db:loss=1% dc dc:loss=1% dd:loss=1%",
				"ad bd cd da db dc", "", "ab:loss=2%", ""}},
		{"partition", "0s partition a | b,c for 1s", []string{"ab ac ba ca", ""}},
		{"one-way", "0s one-way a,b -> b,c for 1s", []string{"ab ac bc", ""}},
		{"isolate", "0s isolate a for 2s; 1s isolate a,b for 2s",
			[]string{"ab ac ad ba ca da", "ab ac ad ba bc bd ca cb da db", "ab ac ad ba bc bd ca cb da db", ""}},
		{"halves", "0s halves a,b,c,d for 1s", []string{"ac ad bc bd ca cb da db", ""}},
		{"bridge", "0s bridge a,b,c for 1s", []string{"ac ca", ""}},
		{"ring", "0s ring a,b,c,d for 1s", []string{"ac bd ca db", ""}},
		{"heal", "0s isolate a; 0s halves c,d for 4s; 1s heal; 2s isolate b for 1s",
			[]string{"ab ac ad ba ca cd da dc", "", "ab ba bc bd cb db", "", ""}},
		{"swizzle", "0s swizzle a pause=2s", []string{"ab ac ad ba ca da", "ab ac ad ba ca da", ""}},
		{"swizzle for", "0s swizzle a,b pause=1h for 1s", []string{"ab ac ad ba ca da", ""}},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				em := netem.New(1)
				got, err := watch(t.Context(), em, parse(t, strings.ReplaceAll(x.plan, ";", "\n")))
				if err != nil {
					t.Error(err)
				}
				if !reflect.DeepEqual(got, x.want) {
					t.Errorf("got  %q\nwant %q", got, x.want)
				}
			})
		})
	}
}

// What the program has set before comes back.
func TestPlanBringsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		em := netem.New(1)
		_ = em.SetAll(netem.Rules{Slice: 1})
		_ = em.Link("a", "b").Set(netem.Rules{Slice: 2})
		em.Link("a", "b").Hold()
		em.Link("c", "d").Cut()
		em.Isolate("d")
		before := seen(em)
		got, err := watch(t.Context(), em, parse(t, "0s all loss=1% for 1s\n0s link a <-> b loss=2% for 1s\n"+
			"0s hold a -> b,c for 1s\n0s cut c -> d,a for 1s\n0s isolate d for 1s"))
		if err != nil || len(got) != 2 || got[0] == before || got[1] != before {
			t.Errorf("%v; got %q, want %q in the end", err, got, before)
		}
		_ = em.SetAll(netem.Rules{})
		if r := em.Link("b", "a").Rules(); r != (netem.Rules{}) {
			t.Errorf("a link that had the network's rules has %+v", r)
		}
	})
}

// A plan that ends early takes back what has an end.
func TestPlanCancelled(t *testing.T) {
	const faults = "0s isolate a for 1m\n0s cut b -> c for 1m\n0s hold b -> d for 1m\n0s all loss=1% for 1m\n0s link b -> c loss=2% for 1m\n" +
		"0s swizzle d pause=1h\n0s swizzle c pause=1h for 2h\n0s hold c -> b\n1s heal\n"
	for _, x := range []struct {
		name string
		end  func(*netem.Plan, context.Context, *netem.Net) error
		want error
	}{
		{"by its context", func(p *netem.Plan, ctx context.Context, em *netem.Net) error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			return p.Run(ctx, em, nil)
		}, context.DeadlineExceeded},
		{"with nothing left but a swizzle", func(p *netem.Plan, ctx context.Context, em *netem.Net) error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			return parse(t, "0s hold c -> b\n0s swizzle d pause=1h").Run(ctx, em, nil)
		}, context.DeadlineExceeded},
		{"before it begins", func(p *netem.Plan, ctx context.Context, em *netem.Net) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			em.Link("c", "b").Hold()
			time.Sleep(10 * time.Second)
			return p.Run(ctx, em, nil)
		}, context.Canceled},
		{"by a step that fails", func(p *netem.Plan, ctx context.Context, em *netem.Net) error {
			p.Steps = append(p.Steps, netem.At(10*time.Second).Start("a"))
			err := p.Run(ctx, em, &netem.RunConfig{Start: func(context.Context, string) error { return io.ErrNoProgress }})
			if want := "netem: plan: 10s start a: " + io.ErrNoProgress.Error(); fmt.Sprint(err) != want {
				t.Errorf("Run: %v, want %s", err, want)
			}
			return err
		}, io.ErrNoProgress},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				em := netem.New(1)
				began := time.Now()
				if err := x.end(parse(t, faults), t.Context(), em); !errors.Is(err, x.want) {
					t.Errorf("Run: %v, want %v", err, x.want)
				}
				if got := seen(em); got != "cb=" {
					t.Errorf("it leaves %q, want only what has no end", got)
				}
				if took := time.Since(began); took != 10*time.Second {
					t.Errorf("it took %v, want 10s", took)
				}
			})
		})
	}
}

// fleet is a host that listens and can be started again.
type fleet struct {
	*world
	subnet *virtnet.SubNetwork
	trace  []string
}

func (c *fleet) start(ctx context.Context, name string) error {
	h, err := c.subnet.NewHost(ctx, name)
	if err != nil {
		return err
	}
	l, err := h.Listen(c.ctx, ":80")
	if err != nil {
		return err
	}
	go func() {
		for {
			if _, err := l.Accept(c.ctx); err != nil {
				return
			}
		}
	}()
	return nil
}

func (c *fleet) config() *netem.RunConfig {
	return &netem.RunConfig{Host: c.subnet.Host, Start: c.start, Trace: func(at time.Duration, what string) {
		c.trace = append(c.trace, fmt.Sprintf("%v: %s", at, what))
	}}
}

// runFleet runs f in a bubble with two hosts that have been started, and a client.
func runFleet(t *testing.T, f func(c *fleet)) {
	t.Helper()
	run(t, -1, func(w *world) {
		c := &fleet{world: w, subnet: pipenet.AsVirtNet(w.net)}
		for _, h := range []string{"a", "b"} {
			if err := c.start(w.ctx, h); err != nil {
				t.Fatal(err)
			}
		}
		f(c)
	})
}

// up tells which hosts are up, second by second, while a plan runs.
func (c *fleet) up(plan string) (all []string) {
	done := make(chan error, 1)
	go func() { done <- parse(c.T, plan).Run(c.ctx, c.em, c.config()) }()
	for began, second := time.Now(), time.Duration(0); ; {
		time.Sleep(500 * ms)
		var up strings.Builder
		for _, h := range []string{"a", "b"} {
			ctx, cancel := context.WithTimeout(c.ctx, ms) // a host that has vanished never answers
			if conn, err := c.net.Host("client").Dial(ctx, h+":80"); err == nil {
				conn.Close()
				up.WriteString(h)
			}
			cancel()
		}
		all = append(all, up.String())
		second += time.Second
		time.Sleep(time.Until(began.Add(second)))
		synctest.Wait()
		select {
		case err := <-done:
			if err != nil {
				c.Error(err)
			}
			return all
		default:
		}
	}
}

func TestPlanCrashes(t *testing.T) {
	for _, x := range []struct {
		name, plan string
		want       []string // who is up
	}{
		{"for", "1s crash a for 2s", []string{"ab", "b", "b"}},
		{"both", "1s vanish a,b for 1s\n2s crash b for 1s", []string{"ab", "", "a"}},
		{"overlap", "0s crash a for 3s\n1s crash a for 1s", []string{"b", "b", "b"}},
		{"overlap the end", "0s crash a for 2s\n1s vanish a for 2s", []string{"b", "b", "b"}},
		{"started early", "0s crash a for 3s\n1s start a", []string{"b", "ab", "ab"}},
		{"stays down, and starts", "0s crash a\n0s vanish b for 4s\n1s vanish b\n2s start a", []string{"", "", "a", "a"}},
		{"crashes again", "0s crash a\n1s start a\n2s crash a", []string{"b", "ab"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			runFleet(t, func(c *fleet) {
				if got := c.up(x.plan); !reflect.DeepEqual(got, x.want) {
					t.Errorf("got %q, want %q\n%s", got, x.want, strings.Join(c.trace, "\n"))
				}
			})
		})
	}
}

// A crash, a reset and a severed link are what their methods are; and the trace tells of each.
func TestPlanEndsConnections(t *testing.T) {
	runFleet(t, func(c *fleet) {
		dial := func(to string) io.ReadWriter {
			conn, _, err := c.dial("client", to+":80")
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
			return conn
		}
		crashed, vanished := dial("a"), dial("b")
		reset, resetPeer := c.pair("c", "d")
		severed, severedPeer := c.pair("e", "f")
		err := parse(t, "1s crash a\n2s vanish b for 1s\n3s reset c -> d\n4s sever e -> f").Run(c.ctx, c.em, c.config())
		if err != nil {
			t.Error(err)
		}
		for name, r := range map[string]io.Reader{"crashed": crashed, "reset": reset, "its peer": resetPeer} {
			if _, err := r.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: %v, want a reset", name, err)
			}
		}
		if _, err := vanished.Read(make([]byte, 1)); !isTimeout(err) {
			t.Errorf("vanished: %v, want nothing", err)
		}
		c.write(severed, "lost")
		c.nothing(severedPeer)
		want := "1s: crash a\n2s: vanish b for 1s\n3s: end of vanish b for 1s\n3s: reset c -> d\n4s: sever e -> f"
		if got := strings.Join(c.trace, "\n"); got != want {
			t.Errorf("trace:\n%s\nwant\n%s", got, want)
		}
	})
}

// Hosts that are down when a plan is cancelled stay so.
func TestPlanCancelledStartsNothing(t *testing.T) {
	runFleet(t, func(c *fleet) {
		ctx, cancel := context.WithTimeout(c.ctx, time.Second)
		defer cancel()
		if err := parse(t, "0s crash a for 1m").Run(ctx, c.em, c.config()); err != context.DeadlineExceeded {
			t.Errorf("Run: %v", err)
		}
		if c.subnet.Host("a") != nil {
			t.Error("a is up")
		}
	})
}

// A plan that needs a function says so before it begins.
func TestPlanNeeds(t *testing.T) {
	host := func(string) *virtnet.Host { return nil }
	for _, x := range []struct {
		plan   string
		config *netem.RunConfig
		want   string
	}{
		{"0s isolate b\n0s crash a", nil, "netem: plan: 0s crash a: it wants RunConfig.Host"},
		{"0s isolate b\n0s vanish a for 1s", &netem.RunConfig{Host: host}, "netem: plan: 0s vanish a for 1s: it wants RunConfig.Start"},
		{"0s isolate b\n0s start a", &netem.RunConfig{}, "netem: plan: 0s start a: it wants RunConfig.Start"},
	} {
		em := netem.New(1)
		if err := parse(t, x.plan).Run(t.Context(), em, x.config); fmt.Sprint(err) != x.want {
			t.Errorf("Run: %v, want %s", err, x.want)
		}
		if got := seen(em); got != "" {
			t.Errorf("it has begun: %q", got)
		}
	}
	// A host that is not up does not crash.
	if err := parse(t, "0s crash a").Run(t.Context(), netem.New(1), &netem.RunConfig{Host: host}); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// A callback that ends the goroutine, as t.Fatal does, leaves nothing running either.
func TestPlanGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		em := netem.New(1)
		began, done := time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			_ = parse(t, "0s swizzle a,b pause=1h\n1s heal").Run(t.Context(), em, &netem.RunConfig{Trace: func(at time.Duration, _ string) {
				if at > 0 {
					runtime.Goexit()
				}
			}})
		}()
		<-done
		if got, took := seen(em), time.Since(began); got != "" || took != time.Second {
			t.Errorf("it leaves %q after %v", got, took)
		}
	})
}
