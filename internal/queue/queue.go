// Package queue has a first-in-first-out list that its items can leave at any time.
package queue

// A Queue is a first-in-first-out list of items, any of which can leave it at any time. It allocates nothing:
// the links are in the items. The zero value is an empty queue.
//
// A queue and its items are not safe for concurrent use. A queue must not be copied while it has items, nor an
// item while it is in a queue.
type Queue[T any] struct {
	head, tail *Item[T]
	n          int
}

// An Item is what a queue holds. The zero value is in no queue.
type Item[T any] struct {
	Value      T
	prev, next *Item[T]
	in         *Queue[T] // nil while in none
}

// Len returns how many items are in the queue.
func (q *Queue[T]) Len() int { return q.n }

// First returns the first item, or nil.
func (q *Queue[T]) First() *Item[T] { return q.head }

// Push appends an item, which must be in no queue.
func (q *Queue[T]) Push(it *Item[T]) {
	it.in, it.prev, it.next = q, q.tail, nil
	if q.tail == nil {
		q.head = it
	} else {
		q.tail.next = it
	}
	q.tail = it
	q.n++
}

// Pop removes the first item and returns it, or nil.
func (q *Queue[T]) Pop() *Item[T] {
	it := q.head
	if it != nil {
		it.Leave()
	}
	return it
}

// In returns the queue the item is in, or nil.
func (it *Item[T]) In() *Queue[T] { return it.in }

// Leave removes the item from the queue it is in, if any.
func (it *Item[T]) Leave() {
	q := it.in
	if q == nil {
		return
	}
	if it.prev == nil {
		q.head = it.next
	} else {
		it.prev.next = it.next
	}
	if it.next == nil {
		q.tail = it.prev
	} else {
		it.next.prev = it.prev
	}
	it.in, it.prev, it.next = nil, nil, nil
	q.n--
}
