package mux

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"
)

// ErrGoAway is the cause of an Open after Shutdown, on either end. It is a net.ErrClosed.
var ErrGoAway = &simpleError{text: "the session takes no more streams", is: net.ErrClosed}

// ErrTimeout is the cause when the other end has been silent for longer than Config.Timeout, keep-alives included.
// Timeout() of the error that carries it is true.
var ErrTimeout = &simpleError{text: "the other end is silent", is: os.ErrDeadlineExceeded}

type simpleError struct {
	text string
	is   error
}

func (e *simpleError) Error() string        { return e.text }
func (e *simpleError) Is(target error) bool { return target == e.is }

// A StreamError is the cause of an error on a stream that one end has reset, or that nobody reads any more.
type StreamError struct {
	Code   uint64 // as given to Reset; 0 for Close and CloseRead
	Remote bool   // the other end did it
	Stop   bool   // it was the receiver of the bytes that wants no more, not their sender
}

// Error says who has ended the stream, and the code.
func (e *StreamError) Error() string {
	who, what := "", "reset"
	if e.Remote {
		who = " by the other end"
	}
	if e.Stop {
		what = "not read any more"
	}
	return fmt.Sprintf("stream is %s%s (code %d)", what, who, e.Code)
}

// Is makes an end by the other side match syscall.ECONNRESET, and syscall.EPIPE if it was the receiver, and an own
// one net.ErrClosed. Another StreamError matches if it is equal.
func (e *StreamError) Is(target error) bool {
	switch target {
	case syscall.ECONNRESET:
		return e.Remote
	case syscall.EPIPE:
		return e.Remote && e.Stop
	case net.ErrClosed:
		return !e.Remote
	}
	t, ok := target.(*StreamError)
	return ok && *t == *e
}

// A SessionError is why a session has ended. What was in progress on the session and its streams fails with it, and what
// comes later.
type SessionError struct {
	Code     uint64 // as given to CloseWithError, 0 for Close; or see Protocol
	Reason   string // for people; the other end's may be anything
	Remote   bool   // the other end has ended it
	Protocol bool   // because of what an end sent, or did not: Code is one of docs/mux.md. Otherwise it is the application's
	Err      error  // the cause below, such as ErrTimeout or the carrier's error; nil if there is none
}

// Error says who has ended the session, and why.
func (e *SessionError) Error() string {
	who := ""
	if e.Remote {
		who = " by the other end"
	}
	text := "session was closed" + who
	if e.Reason != "" {
		text += ": " + printable(e.Reason)
	}
	if e.Code != 0 {
		text += fmt.Sprintf(" (code %d)", e.Code)
	}
	return text
}

// printable is a text that may be the other end's, as it can be shown: what can't be printed is escaped.
func printable(s string) string {
	var b strings.Builder
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		if strconv.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			b.WriteRune(r)
			continue
		}
		q := strconv.Quote(s[i : i+size])
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

// Is makes every end of a session match net.ErrClosed, and one by the other end syscall.ECONNRESET. Another SessionError
// matches if Code, Remote and Protocol are equal.
func (e *SessionError) Is(target error) bool {
	switch target {
	case net.ErrClosed:
		return true
	case syscall.ECONNRESET:
		return e.Remote
	}
	t, ok := target.(*SessionError)
	return ok && t.Code == e.Code && t.Remote == e.Remote && t.Protocol == e.Protocol
}

// Unwrap returns the cause below, such as ErrTimeout or the carrier's error.
func (e *SessionError) Unwrap() error { return e.Err }

// Timeout tells whether the session has ended because the other end was silent.
func (e *SessionError) Timeout() bool { return errors.Is(e.Err, os.ErrDeadlineExceeded) }

// A lostError is why a session has lost its carrier, and waits for another: with what it would have ended otherwise.
type lostError struct{ end *SessionError }

// Error says what the carrier has failed with.
func (e *lostError) Error() string { return "the carrier is lost: " + e.end.Reason }

// Unwrap returns the carrier's error, or ErrTimeout.
func (e *lostError) Unwrap() error { return e.end.Err }

// Codes of a close frame that has the protocol's flag.
const (
	codeInternal = iota + 1
	codeFrame    // what came is no frame, or not one that may come here
	codeState    // a stream's state does not allow the frame
	codeCredit   // more bytes than there was credit for
	codeStreams  // more streams than were allowed
	codeFlood    // too many frames that lead nowhere
	codeTimeout  // nothing came for too long
	codeCarrier  // the carrier failed; never sent
	codeUnknown  // the other end does not resume the session; never sent
)

func protocolErrorf(code uint64, format string, args ...any) *SessionError {
	return &SessionError{Code: code, Reason: fmt.Sprintf(format, args...), Protocol: true}
}

// carrierError is the end of a session whose carrier has failed or ended.
func carrierError(op string, err error) *SessionError {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &SessionError{Code: codeCarrier, Reason: fmt.Sprintf("%s: %v", op, err), Protocol: true, Err: err}
}
