package lonet

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// overdueLog says what was late, and when.
type overdueLog struct {
	start time.Time
	mu    sync.Mutex
	lines []string
}

func (l *overdueLog) late(name string) func() {
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lines = append(l.lines, fmt.Sprintf("%s %v", name, time.Since(l.start)))
	}
}

func (l *overdueLog) want(t *testing.T, lines ...string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.lines, lines) {
		t.Errorf("late: got %s, want %s", strings.Join(l.lines, ", "), strings.Join(lines, ", "))
	}
	l.lines = nil
}

// overdueTest runs a test in a bubble.
func overdueTest(t *testing.T, test func(t *testing.T, log *overdueLog)) {
	synctest.Test(t, func(t *testing.T) { test(t, &overdueLog{start: time.Now()}) })
}

func TestOverdue(t *testing.T) {
	overdueTest(t, func(t *testing.T, log *overdueLog) {
		o := &overdue{after: time.Second}
		var a, b, c watched
		o.add(&a, log.late("a"))
		time.Sleep(400 * time.Millisecond)
		o.add(&b, log.late("b"))
		o.add(&c, log.late("c"))
		if !o.remove(&b) {
			t.Error("b was overdue")
		}
		time.Sleep(599 * time.Millisecond)
		log.want(t)
		time.Sleep(time.Minute)
		log.want(t, "a 1s", "c 1.4s")
		for _, w := range []*watched{&a, &b, &c} {
			if o.remove(w) {
				t.Error("removed what was not watched any more")
			}
		}
		if o.queue.Len() != 0 || o.armed {
			t.Errorf("something is left: %+v", o)
		}

		// It goes on after a rest, with the same ones.
		o.add(&b, log.late("b"))
		time.Sleep(time.Minute)
		log.want(t, "b 1m1.999s")
	})
}

// Removing from any place keeps the others.
func TestOverdueRemove(t *testing.T) {
	for out := range 3 {
		overdueTest(t, func(t *testing.T, log *overdueLog) {
			o := &overdue{after: time.Second}
			var ws [3]watched
			var want []string
			for i := range ws {
				o.add(&ws[i], log.late(fmt.Sprint(i)))
				if i != out {
					want = append(want, fmt.Sprintf("%d 1s", i))
				}
			}
			if !o.remove(&ws[out]) || o.remove(&ws[out]) {
				t.Error("remove is wrong")
			}
			time.Sleep(time.Minute)
			log.want(t, want...)
		})
	}
}

// The first can be made late before its time.
func TestOverdueDrop(t *testing.T) {
	overdueTest(t, func(t *testing.T, log *overdueLog) {
		o := &overdue{after: time.Second}
		if o.drop() {
			t.Error("dropped what is not there")
		}
		var ws [3]watched
		for i := range ws {
			o.add(&ws[i], log.late(fmt.Sprint(i)))
			time.Sleep(time.Millisecond)
		}
		if !o.drop() || o.watching(&ws[0]) || !o.watching(&ws[1]) {
			t.Error("drop is wrong")
		}
		log.want(t, "0 3ms")
		if o.remove(&ws[0]) || !o.remove(&ws[1]) || o.watching(&ws[1]) {
			t.Error("remove is wrong")
		}
		time.Sleep(time.Minute)
		log.want(t, "2 1.002s")
		if o.drop() {
			t.Error("dropped what is not there any more")
		}
	})
}

func TestOverdueClose(t *testing.T) {
	overdueTest(t, func(t *testing.T, log *overdueLog) {
		o := &overdue{after: time.Second}
		var a, b, c watched
		o.add(&a, log.late("a"))
		o.add(&b, log.late("b"))
		o.close()
		log.want(t, "a 0s", "b 0s")
		if o.add(&c, log.late("c")) {
			t.Error("added to a set that is closed")
		}
		o.close()
		time.Sleep(time.Minute)
		log.want(t)

		new(overdue).close() // one that never was used
	})
}

// Whoever is late at the very moment of being removed is either removed or late.
func TestOverdueRace(t *testing.T) {
	o := &overdue{after: 50 * time.Microsecond}
	var late, removed sync.Map
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				var w watched
				key := [2]int{g, i}
				o.add(&w, func() { late.Store(key, true) })
				switch i % 3 {
				case 0:
					<-time.After(40 * time.Microsecond)
				case 1:
					o.drop()
				}
				if o.remove(&w) {
					removed.Store(key, true)
				}
				_, wasLate := late.Load(key)
				_, wasRemoved := removed.Load(key)
				if wasLate == wasRemoved {
					t.Errorf("%v: late %v, removed %v", key, wasLate, wasRemoved)
				}
			}
		})
	}
	wg.Wait()
}
