package netem

import (
	"context"
	"time"
)

// Swizzle isolates some of the hosts, one after the other in random order, and then heals them one after the other in another
// random order, as FoundationDB's tests do: few programs survive that by accident. Between any two changes it
// waits for a pause. It returns when all are healed: also, at once, when ctx ends, with the error of that. The choice
// comes from the seed, and differs from call to call.
func (n *Net) Swizzle(ctx context.Context, pause Delay, hosts ...string) error {
	if err := pause.check(); err != nil {
		return err
	}
	n.mu.Lock()
	s := newStream(n.seed, "swizzle", "").sub(n.swizzles)
	n.swizzles++
	n.mu.Unlock()

	chosen := shuffled(s.sub(0), len(hosts))
	if len(chosen) > 0 {
		chosen = chosen[:1+int(s.uniform(0)*float64(len(chosen)))]
	}
	cuts := make([]*Partition, 0, len(chosen))
	defer func() {
		for _, p := range cuts {
			p.Heal()
		}
	}()
	for i, k := range chosen {
		cuts = append(cuts, n.Isolate(hosts[k]))
		if err := sleep(ctx, pause.at(s.sub(1).uniform(uint64(i)))); err != nil {
			return err
		}
	}
	for i, k := range shuffled(s.sub(2), len(cuts)) {
		cuts[k].Heal()
		if i == len(cuts)-1 {
			break
		}
		if err := sleep(ctx, pause.at(s.sub(3).uniform(uint64(i)))); err != nil {
			return err
		}
	}
	return nil
}

// shuffled returns the numbers below n in random order.
func shuffled(s stream, n int) []int {
	order := make([]int, n)
	for i := range order {
		j := int(s.uniform(uint64(i)) * float64(i+1))
		order[i] = order[j]
		order[j] = i
	}
	return order
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
