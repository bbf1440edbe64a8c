package mux

import "sync"

// A chunk holds bytes of a stream that nobody has read yet. Chunks are pooled in classes by size, so that what a
// stream holds is within a factor of what it was sent, also when that is one byte.
type chunk struct {
	next  *chunk // in a ring, so that the last leads to the first
	class int
	r, w  int // what is in it is buf[r:w]
	buf   []byte
}

var (
	chunkSizes = [...]int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10}
	chunkPools [len(chunkSizes)]sync.Pool
)

// newChunk returns a chunk that has room for n bytes, or for as many as the largest.
func newChunk(n int) *chunk {
	class := 0
	for class < len(chunkSizes)-1 && chunkSizes[class] < n {
		class++
	}
	if c, ok := chunkPools[class].Get().(*chunk); ok {
		return c
	}
	return &chunk{class: class, buf: make([]byte, chunkSizes[class])}
}

func (c *chunk) free() {
	c.next, c.r, c.w = nil, 0, 0
	chunkPools[c.class].Put(c)
}

// room is where the next bytes go.
func (c *chunk) room() []byte { return c.buf[c.w:] }

// A backlog is the bytes that were received and not read. Its zero value is empty, and takes one word.
type backlog struct{ last *chunk }

func (b *backlog) empty() bool { return b.last == nil }

// peek copies bytes, and leaves them.
func (b *backlog) peek(p []byte) (n int) {
	if b.last == nil {
		return 0
	}
	for c := b.last.next; ; c = c.next {
		if n += copy(p[n:], c.buf[c.r:c.w]); c == b.last {
			return n
		}
	}
}

// tail returns a chunk with room for some of the next n bytes, which are added to b with its w.
func (b *backlog) tail(n int) *chunk {
	if b.last != nil && b.last.w < len(b.last.buf) {
		return b.last
	}
	c := newChunk(n)
	b.add(c)
	return c
}

// write adds bytes.
func (b *backlog) write(p []byte) {
	for len(p) > 0 {
		c := b.tail(len(p))
		n := copy(c.room(), p)
		c.w += n
		p = p[n:]
	}
}

// read takes bytes.
func (b *backlog) read(p []byte) (n int) {
	for n < len(p) && b.last != nil {
		c := b.last.next
		k := copy(p[n:], c.buf[c.r:c.w])
		n += k
		if c.r += k; c.r == c.w {
			b.drop(c)
		} else {
			b.shrink(c)
		}
	}
	return n
}

// shrink moves what is left in the first chunk, c, to a smaller one, if it fits there: a reader that leaves a byte must not
// leave 64 KiB with it.
func (b *backlog) shrink(c *chunk) {
	n := c.w - c.r
	if c.class == 0 || n > chunkSizes[c.class-1] {
		return
	}
	small := newChunk(n)
	small.w = copy(small.buf, c.buf[c.r:c.w])
	if c == b.last {
		small.next, b.last = small, small
	} else {
		small.next, b.last.next = c.next, small
	}
	c.free()
}

// drop removes the first chunk, c.
func (b *backlog) drop(c *chunk) {
	if c == b.last {
		b.last = nil
	} else {
		b.last.next = c.next
	}
	c.free()
}

// discard takes everything, and returns how much that was.
func (b *backlog) discard() (n int) {
	for b.last != nil {
		c := b.last.next
		n += c.w - c.r
		b.drop(c)
	}
	return n
}

// add adds a chunk that has bytes.
func (b *backlog) add(c *chunk) {
	if b.last == nil {
		c.next = c
	} else {
		c.next, b.last.next = b.last.next, c
	}
	b.last = c
}
