package astranet

import (
	"errors"
	"os"
	"time"
)

const (
	// answerSoon is how long an Accept waits until the dialler takes its answer, before it goes on to the next.
	answerSoon = 100 * time.Millisecond
	// mostAnswers is how many answers may wait for a node.
	mostAnswers = 256
)

// answer tells the dialler that it is connected. It is false if nobody is there any more; or if the dialler's node does not take the
// answer, which must not keep others waiting: then it is given in the background, and the connection comes out of a later Accept.
func (l *listener) answer(in incoming) bool {
	if in.st.Err() != nil {
		_ = in.st.Close() // it has given up
		return false
	}
	if !in.peer.slow.Load() {
		// A deadline set ahead would cost the stream memory for its life.
		interrupted := make(chan struct{})
		soon := time.AfterFunc(answerSoon, func() {
			_ = in.st.SetWriteDeadline(time.Unix(1, 0))
			close(interrupted)
		})
		_, err := in.st.Write(accepted)
		if !soon.Stop() {
			<-interrupted
		}
		switch {
		case err == nil:
			_ = in.st.SetWriteDeadline(time.Time{})
			return true
		case !errors.Is(err, os.ErrDeadlineExceeded):
			_ = in.st.Close()
			return false
		}
	}
	l.answerLater(in)
	return false
}

// answerLater gives an answer in the background.
func (l *listener) answerLater(in incoming) {
	n, p := l.node, in.peer
	n.mu.Lock()
	ok := !n.closed && p.answers < mostAnswers
	if ok {
		p.slow.Store(true)
		p.answers++
		n.work.Go(func() { l.answerSlowly(in) })
	}
	n.mu.Unlock()
	if !ok {
		_ = in.st.Reset(codeRefused)
		_ = in.st.Close()
	}
}

func (l *listener) answerSlowly(in incoming) {
	n, p := l.node, in.peer
	_ = in.st.SetWriteDeadline(time.Now().Add(answerPatience))
	_, err := in.st.Write(accepted)
	n.mu.Lock()
	p.answers--
	n.mu.Unlock()
	if err == nil {
		p.slow.Store(false)
		_ = in.st.SetWriteDeadline(time.Time{})
		in.answered = true
		if r := l.put(in); r.code == codeAccepted {
			return
		}
	}
	_ = in.st.Reset(codeRefused)
	_ = in.st.Close()
}
