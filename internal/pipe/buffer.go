package pipe

import "sync"

// chunkSize is how much a buffer grows by, and the least that unread bytes cost. With 64 KiB, writes of 4 KiB would be
// a tenth faster, and a connection with a few unread bytes four times as heavy.
const chunkSize = 16 << 10

// buffer is a FIFO of bytes in chunks. Without bytes it has no chunk, so a connection at rest holds no memory
// for what passed through it. The zero buffer is empty. It is not safe for concurrent use.
type buffer struct {
	head, tail *chunk
	n          int // bytes in it
}

type chunk struct {
	next *chunk
	r, w int32            // data[r:w] are the bytes; r < w except while a write fills a new chunk
	data *[chunkSize]byte // apart from the header, which would put writes of whole pages out of line
}

// chunks keeps memory only, nothing that belongs to a synctest bubble.
var chunks = sync.Pool{New: func() any { return &chunk{data: new([chunkSize]byte)} }}

// write appends p.
func (b *buffer) write(p []byte) {
	b.n += len(p)
	for len(p) > 0 {
		if b.tail == nil || b.tail.w == chunkSize {
			b.grow()
		}
		n := copy(b.tail.data[b.tail.w:], p)
		b.tail.w += int32(n)
		p = p[n:]
	}
}

// read moves bytes from the front to p, as many as there are and fit, and tells how many.
func (b *buffer) read(p []byte) int {
	done := 0
	for done < len(p) && b.head != nil {
		c := b.head
		n := copy(p[done:], c.data[c.r:c.w])
		c.r += int32(n)
		done += n
		if c.r == c.w {
			b.drop()
		}
	}
	b.n -= done
	return done
}

// discard empties the buffer.
func (b *buffer) discard() {
	for b.head != nil {
		b.drop()
	}
	b.n = 0
}

// grow appends an empty chunk.
func (b *buffer) grow() {
	c := chunks.Get().(*chunk)
	if b.tail == nil {
		b.head = c
	} else {
		b.tail.next = c
	}
	b.tail = c
}

// drop gives the first chunk back.
func (b *buffer) drop() {
	c := b.head
	b.head = c.next
	if b.head == nil {
		b.tail = nil
	}
	c.next, c.r, c.w = nil, 0, 0
	chunks.Put(c)
}
