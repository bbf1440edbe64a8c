package virtnet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type ctxKey struct{}

// callers returns contexts of all kinds that callers have: one that cannot end, and ones that can.
func callers() map[string]func() (context.Context, context.CancelFunc) {
	return map[string]func() (context.Context, context.CancelFunc){
		"immortal": func() (context.Context, context.CancelFunc) {
			return context.WithValue(context.Background(), ctxKey{}, "v"), func() {}
		},
		"mortal": func() (context.Context, context.CancelFunc) {
			return context.WithCancel(context.WithValue(context.Background(), ctxKey{}, "v"))
		},
		"deadline": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.WithValue(context.Background(), ctxKey{}, "v"), time.Hour)
		},
	}
}

// Whatever ends first ends the call's context, however somebody looks at it.
func TestCallCtx(t *testing.T) {
	for kind, caller := range callers() {
		for _, x := range []struct {
			end  string
			want error
		}{{"caller", context.Canceled}, {"life", context.Canceled}, {"time", context.DeadlineExceeded}, {"", nil}} {
			if kind == "immortal" && x.end == "caller" || kind != "deadline" && x.end == "time" {
				continue
			}
			for looks := range 8 { // which of the three ways somebody looks at it, before it ends
				t.Run(fmt.Sprintf("%s/%s/%03b", kind, x.end, looks), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						ctx, cancel := caller()
						defer cancel()
						life, kill := context.WithCancel(context.Background())
						defer kill()
						c := &callCtx{Context: ctx, life: life}
						defer c.end()

						var done <-chan struct{}
						if looks&1 != 0 {
							done = c.Done()
						}
						ran := 0
						if looks&2 != 0 {
							defer context.AfterFunc(c, func() { ran++ })()
						}
						var child context.Context
						if looks&4 != 0 {
							var cancel context.CancelFunc
							child, cancel = context.WithCancel(c)
							defer cancel()
						}
						if err := c.Err(); err != nil {
							t.Errorf("Err before anything ends: %v", err)
						}
						if c.Value(ctxKey{}) != "v" {
							t.Error("it does not have the caller's values")
						}

						switch x.end {
						case "caller":
							cancel()
						case "life":
							kill()
						case "time":
							time.Sleep(time.Hour)
							synctest.Wait() // the context's timer is not the only one
						}
						if err := c.Err(); err != x.want {
							t.Errorf("Err: %v, want %v", err, x.want)
						}
						synctest.Wait()
						want := x.end != ""
						if done != nil && isDone(done) != want {
							t.Errorf("Done of before is closed: %v, want %v", !want, want)
						}
						if isDone(c.Done()) != want {
							t.Errorf("Done is closed: %v, want %v", !want, want)
						}
						if looks&2 != 0 && (ran == 1) != want {
							t.Errorf("AfterFunc's function was called %d times", ran)
						}
						if child != nil && (child.Err() != x.want || isDone(child.Done()) != want) {
							t.Errorf("a context made of it: %v, want %v", child.Err(), x.want)
						}
					})
				})
			}
		}
	}
}

func isDone(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// When both end, the function runs once.
func TestCallCtxAfterFuncOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		life, kill := context.WithCancel(t.Context())
		c := &callCtx{Context: ctx, life: life}
		ran := 0
		stop := context.AfterFunc(c, func() { ran++ })
		cancel()
		kill()
		synctest.Wait()
		if ran != 1 {
			t.Errorf("it ran %d times", ran)
		}
		if stop() {
			t.Error("stop says that it kept the function from running")
		}
	})
}

// A function that is stopped does not run.
func TestCallCtxAfterFuncStop(t *testing.T) {
	for kind, caller := range callers() {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := caller()
				life, kill := context.WithCancel(context.Background())
				c := &callCtx{Context: ctx, life: life}
				stop := context.AfterFunc(c, func() { t.Error("it runs") })
				if !stop() {
					t.Error("stop says that it was too late")
				}
				if stop() {
					t.Error("the second stop says that it stopped something")
				}
				cancel()
				kill()
				synctest.Wait()
			})
		})
	}
}

// Who keeps the context beyond the call finds it ended, as far as it can end, and pins nothing.
func TestCallCtxEnd(t *testing.T) {
	for _, early := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		c := &callCtx{Context: ctx, life: context.Background()}
		if early {
			c.Done()
		}
		c.end()
		c.end()
		if !isDone(c.Done()) || !errors.Is(c.Err(), context.Canceled) {
			t.Errorf("after the call: Done is closed: %v, Err: %v", isDone(c.Done()), c.Err())
		}
		cancel()
	}
}

// With a caller's context that cannot end, the context outlives the call, and Done and Err agree on that.
func TestCallCtxEndImmortal(t *testing.T) {
	life, kill := context.WithCancel(t.Context())
	c := &callCtx{Context: context.Background(), life: life}
	done := c.Done()
	c.end()
	if isDone(done) || c.Err() != nil {
		t.Errorf("after the call: Done is closed: %v, Err: %v", isDone(done), c.Err())
	}
	kill()
	if !isDone(done) || c.Err() == nil {
		t.Errorf("after the host: Done is closed: %v, Err: %v", isDone(done), c.Err())
	}
}

// Looking at the context without waiting for it costs nothing.
func TestCallCtxAllocs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &callCtx{Context: ctx, life: context.Background()}
	if n := testing.AllocsPerRun(100, func() {
		if c.Err() != nil || c.Value(ctxKey{}) != nil {
			t.Fatal("it has ended")
		}
		c.end()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// All of it at once, for the race detector.
func TestCallCtxConcurrently(t *testing.T) {
	for range 200 {
		ctx, cancel := context.WithCancel(context.Background())
		life, kill := context.WithCancel(context.Background())
		c := &callCtx{Context: ctx, life: life}
		var wg sync.WaitGroup
		for _, f := range []func(){
			cancel, kill, c.end,
			func() { <-c.Done() },
			func() {
				<-c.Done()
				if c.Err() == nil {
					t.Error("Done is closed, and Err is nil")
				}
			},
			func() { context.AfterFunc(c, func() {})() },
			func() {
				child, cancel := context.WithTimeout(c, time.Hour)
				defer cancel()
				<-child.Done()
			},
		} {
			wg.Go(f)
		}
		wg.Wait()
	}
}
