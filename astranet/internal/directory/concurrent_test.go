package directory

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Two Directories, each driven by a goroutine for what it sends and one for what it gets, while others change and read them.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := two()
		must(t, a.SetLink(2, 1))
		must(t, b.SetLink(1, 1))
		var all sync.WaitGroup
		done := make(chan struct{})
		carry := func(from, to *Directory) (feed *Feed, sent chan []byte) {
			sent = make(chan []byte)
			ready := make(chan struct{}, 1)
			feed = from.Open(func() {
				select {
				case ready <- struct{}{}:
				default:
				}
			})
			all.Go(func() {
				defer close(sent)
				for {
					if msg := feed.Next(nil); len(msg) > 0 {
						sent <- msg
						continue
					}
					select {
					case <-ready:
					case <-done:
						return
					}
				}
			})
			return feed, sent
		}
		receive := func(f *Feed, from chan []byte) {
			for msg := range from {
				if err := f.Receive(msg); err != nil {
					t.Error(err)
				}
			}
		}
		fa, ab := carry(a, b)
		fb, ba := carry(b, a)
		all.Go(func() { receive(fb, ab) })
		all.Go(func() { receive(fa, ba) })

		var users sync.WaitGroup
		for w := range 4 {
			users.Go(func() {
				d := []*Directory{a, b}[w%2]
				for i := range 200 {
					if err := d.Put(serviceNo(w*1000 + i)); err != nil {
						t.Error(err)
					}
					d.Services(serviceNo(i).Name)
					d.Tick(epoch.Add(time.Duration(i) * time.Second))
					d.Changes(0, nil)
					d.Graph()
					if i%2 == 0 {
						d.Remove(serviceNo(w*1000+i).Name, serviceNo(w*1000+i).Port)
					}
				}
			})
		}
		users.Wait()
		synctest.Wait()
		inA, _ := a.All()
		inB, _ := b.All()
		if len(inA) != 400 || len(inB) != 400 {
			t.Errorf("%d and %d services, want 400", len(inA), len(inB))
		}
		close(done)
		all.Wait()
		fa.Close()
		fb.Close()
	})
}
