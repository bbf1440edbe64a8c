package queue

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// values returns what is in the queue, from both ends, and checks that they agree.
func (q *Queue[T]) values(t *testing.T) []T {
	t.Helper()
	var forth []T
	n := 0
	for it := q.head; it != nil; it = it.next {
		if it.In() != q {
			t.Fatal("an item in the queue does not know it")
		}
		forth = append(forth, it.Value)
		n++
	}
	for it := q.tail; it != nil; it = it.prev {
		n--
	}
	if n != 0 || len(forth) != q.Len() {
		t.Fatalf("%d items from the head, %d fewer from the tail, Len is %d", len(forth), n, q.Len())
	}
	if q.First() != q.head {
		t.Fatal("First is not the head")
	}
	return forth
}

// TestQueueModel compares the queue with a slice, over random operations on two queues.
func TestQueueModel(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var queues [2]Queue[int]
		var model [2][]int
		items := make([]*Item[int], 20)
		for i := range items {
			items[i] = &Item[int]{Value: i}
		}
		for step := range 2000 {
			k := rnd.IntN(2)
			q := &queues[k]
			switch it := items[rnd.IntN(len(items))]; {
			case rnd.IntN(4) == 0:
				got := q.Pop()
				switch {
				case len(model[k]) == 0:
					if got != nil {
						t.Fatalf("seed %d step %d: pop of an empty queue: %d", seed, step, got.Value)
					}
				case got == nil || got.Value != model[k][0]:
					t.Fatalf("seed %d step %d: pop: got %v, want %d", seed, step, got, model[k][0])
				default:
					model[k] = model[k][1:]
				}
			case it.In() == nil && rnd.IntN(2) == 0:
				q.Push(it)
				model[k] = append(model[k], it.Value)
			default: // of whichever it is in, if any
				it.Leave()
				for k := range model {
					model[k] = slices.DeleteFunc(model[k], func(v int) bool { return v == it.Value })
				}
			}
			for k := range queues {
				if got := queues[k].values(t); !slices.Equal(got, model[k]) {
					t.Fatalf("seed %d step %d: queue %d: got %v, want %v", seed, step, k, got, model[k])
				}
			}
		}
	}
}
