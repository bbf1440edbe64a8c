package virtnet

// queue is a first-in-first-out list of items, any of which can leave it at any time. It allocates nothing:
// the links are in the items.
type queue[T any] struct {
	head, tail *item[T]
	n          int
}

// item is what a queue holds.
type item[T any] struct {
	value      T
	prev, next *item[T]
	in         *queue[T] // nil while in none
}

func (q *queue[T]) push(it *item[T]) {
	it.in, it.prev, it.next = q, q.tail, nil
	if q.tail == nil {
		q.head = it
	} else {
		q.tail.next = it
	}
	q.tail = it
	q.n++
}

// pop removes the first item and returns it, or nil.
func (q *queue[T]) pop() *item[T] {
	it := q.head
	if it != nil {
		it.leave()
	}
	return it
}

// leave removes the item from the queue it is in, if any.
func (it *item[T]) leave() {
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
