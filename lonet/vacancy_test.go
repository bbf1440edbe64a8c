package lonet

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet"
)

// bubbleLead runs a test of leadership in a bubble. The reigns of its engine end at once, and are sent.
func bubbleLead(t *testing.T, test func(l *leadership, takeOver func(), reigns <-chan int)) {
	synctest.Test(t, func(t *testing.T) {
		var serving sync.WaitGroup
		l := &leadership{serving: &serving}
		reigns := make(chan int, 100)
		test(l, func() { reigns <- l.vacant() }, reigns)
		l.close()
		serving.Wait()
	})
}

// There is one leader, and the engine takes over if there is none for a while.
func TestVacancy(t *testing.T) {
	bubbleLead(t, func(l *leadership, takeOver func(), reigns <-chan int) {
		if !l.take() || l.take() {
			t.Error("there is not one leader")
		}
		time.Sleep(time.Second)
		start := time.Now()
		l.leave(takeOver)
		if got := <-reigns; got != 1 || time.Since(start) != vacancyAfter {
			t.Errorf("the engine leads for %d Accepts, after %v", got, time.Since(start))
		}
		if l.take() {
			t.Error("there are two")
		}
		l.leave(takeOver)

		// Whoever comes back in time leads, and the engine finds it so.
		time.Sleep(vacancyAfter / 2)
		if !l.take() {
			t.Error("there is none, and none may be")
		}
		if got := <-reigns; got != 0 {
			t.Errorf("the engine leads for %d Accepts", got)
		}
		l.leave(takeOver)
		if got := <-reigns; got != 1 {
			t.Errorf("the engine leads for %d Accepts", got)
		}
		l.leave(takeOver)
	})
}

// The engine leads longer and longer as long as nobody comes back.
func TestReigns(t *testing.T) {
	bubbleLead(t, func(l *leadership, takeOver func(), reigns <-chan int) {
		l.take()
		for _, want := range []int{1, 3, 7, 15, 31, 63, longestReign, longestReign} {
			l.leave(takeOver)
			if got := <-reigns; got != want {
				t.Errorf("it leads for %d Accepts, want %d", got, want)
			}
		}
		l.leave(takeOver)
		if !l.take() {
			t.Error("there is none, and none may be")
		}
		<-reigns
		l.leave(takeOver)
		if got := <-reigns; got != 1 {
			t.Errorf("it leads for %d Accepts, want 1", got)
		}
		l.leave(takeOver)
	})
}

// Once it is closed nobody leads, and no timer runs.
func TestLeadershipClosed(t *testing.T) {
	for name, before := range map[string]func(l *leadership, takeOver func()){
		"led": func(l *leadership, takeOver func()) {
			l.take()
			l.close()
			l.leave(takeOver)
		},
		"vacant": func(l *leadership, takeOver func()) {
			l.take()
			l.leave(takeOver)
			l.close()
		},
		"never led": func(l *leadership, _ func()) { l.close() },
	} {
		bubbleLead(t, func(l *leadership, takeOver func(), reigns <-chan int) {
			before(l, takeOver)
			time.Sleep(time.Minute)
			if l.take() || l.vacant() != 0 || len(reigns) > 0 {
				t.Errorf("%s: somebody leads", name)
			}
		})
	}
}

// A sub-network that loses its socket is down, whoever leads, and there is no leader any more, nor a search for one.
func TestSocketLost(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n, err := Config{TempDir: t.TempDir()}.Join(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	α, err := n.NewHost(ctx, "α")
	if err != nil {
		t.Fatal(err)
	}
	l, err := α.Listen(ctx, ":1")
	if err != nil {
		t.Fatal(err)
	}
	e := engineOf(n)
	if err := e.osl.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(ctx); !errors.Is(err, virtnet.ErrNetDown) {
		t.Errorf("Accept: %v, want %v", err, virtnet.ErrNetDown)
	}
	e.serving.Wait()
	e.lead.mu.Lock()
	defer e.lead.mu.Unlock()
	if !e.lead.closed || e.lead.taken {
		t.Errorf("it goes on: %+v", &e.lead)
	}
}

// engineOf returns the engine of a sub-network. The core does not give it out.
func engineOf(n *virtnet.SubNetwork) *engine {
	return (*engine)(reflect.ValueOf(n).Elem().FieldByName("engine").Elem().UnsafePointer())
}
