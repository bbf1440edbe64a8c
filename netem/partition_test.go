package netem_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/virtnet/virtnet/netem"
)

// reach tells who reaches whom, as a line per host.
func reach(em *netem.Net, hosts ...string) string {
	var b strings.Builder
	for _, from := range hosts {
		fmt.Fprintf(&b, "%s:", from)
		for _, to := range hosts {
			if !em.Link(from, to).State().Cut {
				b.WriteString(" " + to)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestPartitionShapes(t *testing.T) {
	hosts := []string{"a", "b", "c", "d", "e"}
	for _, x := range []struct {
		name string
		cut  func(em *netem.Net) *netem.Partition
		want string
	}{
		{"Partition", func(em *netem.Net) *netem.Partition { return em.Partition(hosts[:1], hosts[1:3]) },
			"a: a d e\nb: b c d e\nc: b c d e\nd: a b c d e\ne: a b c d e\n"},
		{"OneWay", func(em *netem.Net) *netem.Partition { return em.OneWay(hosts[:2], hosts[1:3]) },
			"a: a d e\nb: a b d e\nc: a b c d e\nd: a b c d e\ne: a b c d e\n"},
		{"Isolate", func(em *netem.Net) *netem.Partition { return em.Isolate("b", "e") },
			"a: a c d\nb: b\nc: a c d\nd: a c d\ne: e\n"},
		{"Halves", func(em *netem.Net) *netem.Partition { return em.Halves(hosts...) },
			"a: a b\nb: a b\nc: c d e\nd: c d e\ne: c d e\n"},
		{"Bridge", func(em *netem.Net) *netem.Partition { return em.Bridge(hosts...) },
			"a: a b c\nb: a b c\nc: a b c d e\nd: c d e\ne: c d e\n"},
		{"Ring", func(em *netem.Net) *netem.Partition { return em.Ring(hosts...) },
			"a: a b e\nb: a b c\nc: b c d\nd: c d e\ne: a d e\n"},
		{"nothing", func(em *netem.Net) *netem.Partition { return em.Halves() }, everybody},
	} {
		t.Run(x.name, func(t *testing.T) {
			for _, before := range []bool{false, true} { // are the links there before?
				em := netem.New(1)
				if before {
					reach(em, hosts...)
				}
				p := x.cut(em)
				if got := reach(em, hosts...); got != x.want {
					t.Errorf("links made before: %v: got\n%swant\n%s", before, got, x.want)
				}
				p.Heal()
				p.Heal()
				if got := reach(em, hosts...); got != everybody {
					t.Errorf("links made before: %v: healed: got\n%s", before, got)
				}
			}
		})
	}
}

const everybody = "a: a b c d e\nb: a b c d e\nc: a b c d e\nd: a b c d e\ne: a b c d e\n"

// Partitions add up, with each other and with Cut, and Heal ends them all but Cut.
func TestPartitionsAddUp(t *testing.T) {
	em := netem.New(1)
	p := em.Isolate("a")
	q := em.Halves("a", "b")
	em.Link("a", "b").Cut()
	for _, x := range []struct {
		name string
		do   func()
		want string
	}{
		{"all", func() {}, "a: a\nb: b\n"},
		{"the first healed", p.Heal, "a: a\nb: b\n"},
		{"the second healed", q.Heal, "a: a\nb: a b\n"},
		{"mended", em.Link("a", "b").Mend, "a: a b\nb: a b\n"},
		{"two more", func() { em.Isolate("a"); em.Isolate("b") }, "a: a\nb: b\n"},
		{"Clear leaves them", em.Link("a", "b").Clear, "a: a\nb: b\n"},
		{"Heal", em.Heal, "a: a b\nb: a b\n"},
	} {
		x.do()
		if got := reach(em, "a", "b"); got != x.want {
			t.Errorf("%s: got\n%swant\n%s", x.name, got, x.want)
		}
	}
}

// Connections live through a partition, and what is sent meanwhile arrives; dials wait, or give up.
func TestPartitionAndHeal(t *testing.T) {
	run(t, -1, func(w *world) {
		c, d := w.pair("α", "β")
		addr := w.serve("β")
		p := w.em.Isolate("α")
		w.write(c, "over there")
		w.write(d, "over here")
		ctx, cancel := context.WithTimeout(w.ctx, time.Second)
		defer cancel()
		if _, err := w.net.Host("α").Dial(ctx, addr); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial across a partition: %v, want its deadline", err)
		}
		time.AfterFunc(time.Hour, p.Heal)
		_, took, err := w.dial("α", addr)
		if err != nil {
			t.Error(err)
		}
		w.took("a dial that waits", took, time.Hour)
		w.took("data after the dial", w.arrives(d, "over there")+w.arrives(c, "over here"), 0)
		w.state("α", "β", netem.State{Conns: 2})
	})
}

// A one-way partition lets a dial through, and not its answer.
func TestOneWayDial(t *testing.T) {
	run(t, 0, func(w *world) {
		addr := w.serve("β")
		p := w.em.OneWay([]string{"β"}, []string{"α"})
		time.AfterFunc(time.Minute, p.Heal)
		_, took, err := w.dial("α", addr)
		if err != nil {
			t.Error(err)
		}
		w.took("the answer", took, time.Minute)
	})
}
