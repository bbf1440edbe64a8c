package astranet

import (
	"context"
	"strconv"
	"time"

	"github.com/virtnet/virtnet/mux"
)

// mostRequests is how many requests of one session may be read at once: who sends them slowly delays its own.
const mostRequests = 1024

// serve takes the streams that a session brings.
func (n *node) serve(s *session) {
	room := make(chan struct{}, mostRequests)
	var b [mostRequest]byte
	for {
		st, err := s.mux.Accept(n.ctx)
		if err != nil {
			return
		}
		q, now := requestNow(st, b[:])
		var r refusal
		if now {
			if r = n.admit(s, st, q); r.code == codeAccepted {
				continue
			}
		}
		select {
		case room <- struct{}{}:
		case <-s.mux.Done():
			return
		}
		n.work.Go(func() {
			if now {
				refuse(st, r, time.Now().Add(answerPatience))
			} else {
				n.request(s, st)
			}
			<-room
		})
	}
}

// requestNow reads what a stream asks for, if all of it has come with the stream, as it mostly has: then nobody need wait for it. b is
// memory.
func requestNow(st *mux.Stream, b []byte) (q request, ok bool) {
	size := requestSize(b[:st.Peek(b)])
	if size == 0 {
		return q, false
	}
	if k, err := st.Read(b[:size]); k < size || err != nil {
		return q, false // it has just been reset
	}
	return parseRequest(b[2:size]), true
}

// request reads what a stream asks for, and has it wait at the listener, or refuses it.
func (n *node) request(s *session, st *mux.Stream) {
	// A deadline would cost the stream memory for its life.
	slow := time.AfterFunc(answerPatience, func() { _ = st.Reset(codeUnknown) })
	q, code, err := readRequest(st)
	if !slow.Stop() || err != nil {
		if s.mux.Err() != nil {
			return // a reset could overtake the word that the session has ended, upon which the dialler tries again
		}
		_ = st.Reset(codeUnknown)
		_ = st.Close()
		return
	}
	r := refusal{code, "this version does not know the request"}
	if code == codeAccepted {
		r = n.admit(s, st, q)
	}
	if r.code != codeAccepted {
		refuse(st, r, time.Now().Add(answerPatience))
	}
}

// admit has a dial wait at the listener that it is for.
func (n *node) admit(s *session, st *mux.Stream, q request) refusal {
	p := s.peer
	n.mu.Lock()
	l, retired := n.listeners[q.port], s.retired
	n.mu.Unlock()
	if retired {
		return refusal{} // the session is about to end: the dialler tries again on another
	}
	service := q.service
	if l != nil && service == "" {
		service = l.service // who dials a port by its number dials what is there
	}
	if !n.set.Rules.allow(DialAction, p.name, n.name, service) {
		n.logDenied(p, service, q.port)
		return refusal{codeDenied, "its rules forbid it"}
	}
	switch {
	case l == nil && q.service != "", l != nil && l.service != service:
		return refusal{codeNoService, "it has none any more"}
	case l == nil:
		return refusal{codeRefused, "nobody listens at port " + strconv.FormatUint(uint64(q.port), 10)}
	}
	return l.put(incoming{st: st, peer: p, port: q.from})
}

// logDenied logs that a dial was denied, once a second for each node: it can dial as often as it likes.
func (n *node) logDenied(p *peer, service string, port uint32) {
	n.mu.Lock()
	now := time.Now()
	more, due := p.denials, now.Sub(p.denied) >= time.Second
	if p.denials++; due {
		p.denials, p.denied = 0, now
	}
	n.mu.Unlock()
	if due {
		n.log.Warn("a dial was denied", "from", p.text(), "service", printable(service), "port", port, "others", more)
	}
}

// within has ctx interrupt what waits on a stream. The function it returns ends that, and tells whether ctx has ended meanwhile.
func within(ctx context.Context, st *mux.Stream) (done func() (ended bool)) {
	if ctx.Done() == nil {
		return func() bool { return false }
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = st.SetDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	return func() bool {
		if stop() {
			return false
		}
		<-interrupted
		return true
	}
}
