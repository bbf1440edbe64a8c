package mux

import "net"

// A payload is what a Write has for a data frame: p, and then more. That is set only if the stream carries another session, which
// writes headers and what they are of in one go, as to a socket.
type payload struct {
	id   uint64 // the stream
	p    []byte
	more [][]byte // the list is the carrier's, and may be changed
	size int
}

// mostFrames is in how many frames mostData bytes go, if the other end takes only such of maxData.
const mostFrames = (mostData + maxData - 1) / maxData

func (y *payload) header() header { return header{kind: kindData, size: y.size, id: y.id} }

// cut leaves the first n bytes.
func (y *payload) cut(n int) {
	if n == y.size {
		return
	}
	y.size = n
	if n <= len(y.p) {
		y.p, y.more = y.p[:n], nil
		return
	}
	n -= len(y.p)
	for i, b := range y.more {
		if n <= len(b) {
			y.more[i] = b[:n]
			y.more = y.more[:i+1]
			return
		}
		n -= len(b)
	}
}

// append copies the payload behind b.
func (y *payload) append(b []byte) []byte {
	b = append(b, y.p...)
	for _, p := range y.more {
		b = append(b, p...)
	}
	return b
}

// appendVec adds its slices to vec.
func (y *payload) appendVec(vec [][]byte) [][]byte { return append(append(vec, y.p), y.more...) }

// appendFrames adds it to vec, with headers: as one frame if that may have as many bytes as most, or as several of the same length,
// since a short one would cost as much.
func (y *payload) appendFrames(vec [][]byte, headers *[mostFrames][headerSize]byte, most int) [][]byte {
	frames := (y.size + most - 1) / most
	per := (y.size + frames - 1) / frames
	room, left := 0, y.size
	for i := -1; ; i++ {
		p := y.p
		if i >= 0 {
			if i == len(y.more) {
				return vec
			}
			p = y.more[i]
		}
		for len(p) > 0 {
			if room == 0 {
				h := &headers[frames-1]
				frames--
				room = min(per, left)
				left -= room
				header{kind: kindData, size: room, id: y.id}.put(h)
				vec = append(vec, h[:])
			}
			n := min(len(p), room)
			vec = append(vec, p[:n])
			room -= n
			p = p[n:]
		}
	}
}

// A source is what a Write has still to write: p, or vec.
type source struct {
	p      []byte
	vec    net.Buffers
	frames *[][]byte // memory of payloads' lists
	left   int
}

// next returns the next n bytes, or less if the carrier is better given less at once.
func (o *source) next(id uint64, n uint64) payload {
	if o.frames == nil {
		p := o.p[:min(n, uint64(o.left), maxData)]
		return payload{id: id, p: p, size: len(p)}
	}
	y := payload{id: id, size: int(min(n, uint64(o.left), mostData))}
	if o.left > mostData {
		y.size = min(y.size, maxData)
	}
	list := (*o.frames)[:0]
	for i, left := 0, y.size; left > 0; i++ {
		b := o.vec[i][:min(left, len(o.vec[i]))]
		list = append(list, b)
		left -= len(b)
	}
	*o.frames = list
	if y.size > 0 {
		y.p, y.more = list[0], list[1:]
	}
	return y
}

// took goes on behind n bytes.
func (o *source) took(n int) {
	o.left -= n
	if o.frames == nil {
		o.p = o.p[n:]
		return
	}
	for len(o.vec) > 0 && n >= len(o.vec[0]) {
		n -= len(o.vec[0])
		o.vec = o.vec[1:]
	}
	if n > 0 {
		o.vec[0] = o.vec[0][n:]
	}
}
