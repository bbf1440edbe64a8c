package virtnet

import "math/bits"

// socket is what sits at a port of a host: a connection or a listener.
type socket interface {
	// shutdown interrupts whatever is blocked on the socket because its host or network went down.
	shutdown()
}

// ports is the table of a host's sockets. It finds the lowest free port, and a socket by its port, in time
// that does not grow with their number (it takes a step more for every factor of 64), and its memory follows
// the number of open ports, however high they are: pages of a few ports, which are there while any of their
// ports is open (and one more), and above them a tree of bits that says which pages are full, whose words of
// zero are left out.
//
// Inside, a port is counted from 0: port 1 is index 0.
type ports struct {
	pages   map[uint32]*portPage
	emptied uint32 // the page that was emptied last
	// full[0] has a bit for each page, set if the page is full; full[k] has a bit for each word of full[k-1],
	// set if that word is all ones.
	full []map[uint32]uint64
}

const (
	pageBits = 4 // a page is small because most hosts have few ports open, or single high ones
	pageSize = 1 << pageBits
	pageMask = pageSize - 1
	allOnes  = ^uint64(0)
)

type portPage struct {
	used  uint16
	socks [pageSize]socket
}

// get returns the socket at port, or nil.
func (p *ports) get(port int) socket {
	if port < 1 || port > maxPort {
		return nil
	}
	i := uint32(port - 1)
	if pg := p.pages[i>>pageBits]; pg != nil {
		return pg.socks[i&pageMask]
	}
	return nil
}

// put places s at port, or at the lowest free port if port is 0, and returns the port, or 0 if it is taken.
func (p *ports) put(s socket, port int) int {
	var i uint32
	if port == 0 {
		i = p.lowest()
	} else {
		i = uint32(port - 1)
	}
	no, bit := i>>pageBits, uint16(1)<<(i&pageMask)
	pg := p.pages[no]
	if pg == nil {
		if p.pages == nil {
			p.pages = make(map[uint32]*portPage)
		}
		pg = new(portPage)
		p.pages[no] = pg
	}
	if pg.used&bit != 0 {
		return 0
	}
	pg.used |= bit
	pg.socks[i&pageMask] = s
	if pg.used == 1<<pageSize-1 {
		p.setFull(no)
	}
	return int(i) + 1
}

// remove frees port if s is at it.
func (p *ports) remove(s socket, port int) {
	if p.get(port) != s {
		return
	}
	i := uint32(port - 1)
	no := i >> pageBits
	pg := p.pages[no]
	if pg.used == 1<<pageSize-1 {
		p.clearFull(no)
	}
	pg.used &^= 1 << (i & pageMask)
	pg.socks[i&pageMask] = nil
	if pg.used != 0 {
		return
	}
	// The page that was emptied last stays: dials one after the other would make it each time.
	if old := p.pages[p.emptied]; old != nil && old.used == 0 && p.emptied != no {
		delete(p.pages, p.emptied)
	}
	p.emptied = no
}

// all returns the sockets, in no order.
func (p *ports) all() []socket {
	var all []socket
	for _, pg := range p.pages {
		for _, s := range pg.socks {
			if s != nil {
				all = append(all, s)
			}
		}
	}
	return all
}

// lowest returns the index of the lowest free port. There always is one: 1<<31-1 sockets fit in no memory.
func (p *ports) lowest() uint32 {
	// Climb to the first level whose first word has a zero, and follow the lowest zero down to its page.
	k := 0
	for k < len(p.full) && p.full[k][0] == allOnes {
		k++
	}
	no := uint32(0)
	for ; k >= 0; k-- {
		if k < len(p.full) {
			no = no<<6 | uint32(bits.TrailingZeros64(^p.full[k][no]))
		}
	}
	i := no << pageBits
	if pg := p.pages[no]; pg != nil {
		i |= uint32(bits.TrailingZeros16(^pg.used))
	}
	return i
}

func (p *ports) setFull(i uint32) {
	for k := 0; ; k++ {
		if k == len(p.full) {
			p.full = append(p.full, make(map[uint32]uint64))
		}
		w := p.full[k][i>>6] | 1<<(i&63)
		p.full[k][i>>6] = w
		if w != allOnes {
			return
		}
		i >>= 6
	}
}

func (p *ports) clearFull(i uint32) {
	for k := 0; k < len(p.full); k++ {
		w := p.full[k][i>>6]
		if n := w &^ (1 << (i & 63)); n == 0 {
			delete(p.full[k], i>>6)
		} else {
			p.full[k][i>>6] = n
		}
		if w != allOnes {
			return
		}
		i >>= 6
	}
}
