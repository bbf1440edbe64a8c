package astranet_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtnet/virtnet/astranet"
)

// An Iterator returns for what there is, waits for what comes, misses nothing, and ends with the node; Sync tells what has
// changed.
func TestRegistryIterator(t *testing.T) {
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		services := w.c.ServiceMap()
		var known astranet.RegistryStorage
		news := make(chan string, 100)
		ended := make(chan struct{})
		next := make(chan struct{})
		go func() {
			defer close(ended)
			for it := services.Iter(); it != nil; it = it.Next() {
				<-next
				known.Sync(services,
					func(s astranet.ServiceId) { news <- fmt.Sprint("+", s.Service, ":", s.Port) },
					func(s astranet.ServiceId) { news <- fmt.Sprint("-", s.Service, ":", s.Port) })
			}
		}()
		want := func(all ...string) {
			w.Helper()
			next <- struct{}{}
			synctest.Wait()
			var got []string
			for len(news) > 0 {
				got = append(got, <-news)
			}
			if !slices.Equal(got, all) {
				w.Errorf("got %v, want %v", got, all)
			}
		}
		want()
		a := w.bind(w.s, "a:1")
		want("+a:1")
		b := w.bind(w.s, "b:2")
		a.Close()
		w.bind(w.s, "a:3")
		want("-a:1", "+a:3", "+b:2")
		b.Close()
		w.bind(w.s, "b:2").Close()
		synctest.Wait()
		want("-b:2")
		want() // of what has changed since Next has returned, nothing is left
		select {
		case next <- struct{}{}:
			w.Error("Next has returned, and nothing has changed")
		case <-time.After(time.Hour):
		}
		w.cut()
		want("-a:3")
		w.c.Close()
		<-ended
	})
}

// The zero value can be synchronised with, also from a copy of nothing, and watched, and closed.
func TestRegistryZeroValue(t *testing.T) {
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		w.bind(w.s, "a:1")
		w.bind(w.s, "a:2")
		var mine, copied astranet.RegistryStorage
		mine.Sync(w.c.ServiceMap(), nil, nil)
		copied.Sync(&mine, nil, nil)
		if got := copied.All(); len(got) != 2 || got[0] != (astranet.ServiceId{Service: "a", Host: w.s.ID(), Port: 1}) {
			w.Errorf("got %v", got)
		}
		var empty astranet.RegistryStorage
		gone := 0
		copied.Sync(&empty, nil, func(astranet.ServiceId) { gone++ })
		if gone != 2 || len(copied.All()) != 0 {
			w.Errorf("%d are gone, left is %v", gone, copied.All())
		}
		it := mine.Iter().Next()
		n := begin(func() (*astranet.Iterator, error) { return it.Next(), nil })
		n.blocked(w)
		mine.Close()
		if it, _ := n.result(w); it != nil {
			w.Error("Next of what is closed goes on")
		}
		mine.Sync(w.c.ServiceMap(), nil, nil)
		if len(mine.All()) != 0 {
			w.Error("what is closed takes more")
		}
	})
}

// Discover finds what is there; DiscoverTimeout waits for it, no longer than it is told to, nor than the node lives.
func TestDiscover(t *testing.T) {
	inBubble(t, astranet.Config{}, astranet.Config{}, func(w *two) {
		services := w.c.ServiceMap()
		discover := func(wait time.Duration) *call[bool] {
			return begin(func() (bool, error) {
				_, found := services.DiscoverTimeout(astranet.RandomSelector{}, "svc", wait)
				return found, nil
			})
		}
		if _, found := services.Discover(nil, "svc"); found {
			w.Error("there is none")
		}
		begun := time.Now()
		if found, _ := discover(time.Minute).result(w); found || time.Since(begun) != time.Minute {
			w.Errorf("found: %v, after %v", found, time.Since(begun))
		}
		d := discover(time.Minute)
		d.blocked(w)
		w.bind(w.s, "other")
		d.blocked(w)
		l := w.bind(w.s, "svc")
		if found, _ := d.result(w); !found {
			w.Error("not found")
		}
		l.Close()
		synctest.Wait()
		d = discover(time.Hour)
		d.blocked(w)
		w.c.Close()
		if found, _ := d.result(w); found {
			w.Error("found in a closed node")
		}
	})
}

// instances returns k instances of a service.
func instances(k int) (pool []astranet.ServiceId) {
	for i := range k {
		pool = append(pool, astranet.ServiceId{Service: "svc", Host: uint64(i/3 + 1), Port: uint32(i + 70)})
	}
	return pool
}

// The random selector spreads evenly: chi squared of 9 degrees of freedom is above 33.7 once in 10,000 times.
func TestRandomSelector(t *testing.T) {
	pool, n := instances(10), make([]float64, 10)
	for range 100_000 {
		n[astranet.RandomSelector{}.Select(pool)]++
	}
	if x := chiSquared(n); x > 33.7 {
		t.Errorf("chi squared is %v: %v", x, n)
	}
}

func chiSquared(n []float64) (x float64) {
	sum := 0.0
	for _, v := range n {
		sum += v
	}
	mean := sum / float64(len(n))
	for _, v := range n {
		x += (v - mean) * (v - mean) / mean
	}
	return x
}

// The hash selector spreads keys, takes the same instance for the same key, and moves only the keys of an instance that goes, or those
// that one that comes gets.
func TestHashSelector(t *testing.T) {
	const keys = 10_000
	pool := instances(10)
	choices := func(pool []astranet.ServiceId) (all [keys]astranet.ServiceId) {
		for k := range all {
			all[k] = pool[astranet.HashSelector{Key: fmt.Sprint("key", k)}.Select(pool)]
		}
		return all
	}
	before := choices(pool)
	n := make([]float64, len(pool))
	for _, s := range before {
		n[s.Port-70]++
	}
	if x := chiSquared(n); x > 33.7 {
		t.Errorf("chi squared is %v: %v", x, n)
	}
	for gone := range pool {
		rest := slices.Delete(slices.Clone(pool), gone, gone+1)
		for k, s := range choices(rest) {
			if before[k] != pool[gone] && s != before[k] {
				t.Fatalf("key %d moves from %v to %v, since %v goes", k, before[k], s, pool[gone])
			}
		}
	}
	come := astranet.ServiceId{Service: "svc", Host: 99, Port: 1}
	moved := 0
	for k, s := range choices(append(slices.Clone(pool), come)) {
		if s != before[k] {
			if moved++; s != come {
				t.Fatalf("key %d moves from %v to %v", k, before[k], s)
			}
		}
	}
	if share := float64(moved) / keys; math.Abs(share-1.0/11) > 0.02 {
		t.Errorf("%v of the keys move", share)
	}
}

// Two clients choose the same instance for a key, whatever the order in which they have heard of the instances; another
// when that goes; and the first again when it is back. vport2registry takes the key from the port.
func TestSelectionAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, other := astranet.New(), astranet.New(), astranet.New()
		var servers []astranet.AstraNet
		defer func() {
			for _, n := range append(servers, a, b, other) {
				n.Close()
			}
		}()
		w := &two{T: t}
		for i := range 5 {
			n := astranet.New()
			servers = append(servers, n)
			acceptAll(w.bind(n, fmt.Sprint("svc:", 70+i)))
			w.link2(n, a)
		}
		for _, n := range slices.Backward(servers) {
			w.link2(n, b)
		}
		to := func(n astranet.AstraNet, network, hp string) string {
			c, err := n.Dial(network, hp)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			return c.RemoteAddr().String()
		}
		seen := map[string]bool{}
		choice := map[string]string{}
		for k := range 40 {
			for _, dial := range [][2]string{{fmt.Sprint("registry://user", k), "svc"}, {"vport2registry", fmt.Sprint("svc:", k+1)}} {
				at := to(a, dial[0], dial[1])
				if again, and := to(a, dial[0], dial[1]), to(b, dial[0], dial[1]); again != at || and != at {
					t.Errorf("%v is at %s, %s, and for the other %s", dial, at, again, and)
				}
				seen[at] = true
				choice[dial[0]+" "+dial[1]] = at
			}
		}
		if len(seen) != len(servers) {
			t.Errorf("40 keys are at %v only", seen)
		}
		gone := servers[0]
		servers = servers[1:]
		gone.Close()
		synctest.Wait()
		for k := range 40 {
			network := fmt.Sprint("registry://user", k)
			was, is := choice[network+" svc"], to(a, network, "svc")
			if was[:11] == astranet.HostName(gone.ID()) {
				if is[:11] == was[:11] {
					t.Errorf("%s is at a node that is closed", network)
				}
			} else if is != was {
				t.Errorf("%s moves from %s to %s", network, was, is)
			}
		}
		// Without a key any will do.
		for _, network := range []string{"", "tcp", "vport2registry"} {
			seen := map[string]bool{}
			for range 100 {
				seen[to(a, network, "svc")] = true
			}
			if len(seen) != 4 {
				t.Errorf("%q: %v", network, seen)
			}
		}
	})
}
