package astranet

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"
)

// Why something fails. Each matches, by errors.Is, the standard error named beside it. What took too long fails with
// context.DeadlineExceeded if a context or the time of a DialTimeout has ended, and os.ErrDeadlineExceeded if a connection's deadline
// has; both match os.ErrDeadlineExceeded, and Timeout() of the *net.OpError around them is true.
var (
	// ErrNoService says that no node which can be reached has the service (fs.ErrNotExist).
	ErrNoService error = &cause{"no such service", fs.ErrNotExist}
	// ErrNoRoute says that there is no link to the node (syscall.EHOSTUNREACH).
	ErrNoRoute error = &cause{"no route to host", syscall.EHOSTUNREACH}
	// ErrRefused says that nobody listens at the port, or its queue is full, or it was closed (syscall.ECONNREFUSED).
	ErrRefused error = &cause{"connection refused", syscall.ECONNREFUSED}
	// ErrDenied says that the rules of one of the two nodes forbid it, or that one of them is not to be believed any more
	// (fs.ErrPermission).
	ErrDenied error = &cause{"permission denied", fs.ErrPermission}
	// ErrLost says that a connection has ended because the other node was closed or restarted, or because there was no link to
	// it for longer than Config.Grace (syscall.ECONNRESET).
	ErrLost error = &cause{"connection lost", syscall.ECONNRESET}
	// ErrPortInUse says that the port of a Bind is taken (syscall.EADDRINUSE).
	ErrPortInUse error = &cause{"address already in use", syscall.EADDRINUSE}
	// ErrTooMany says that a node has as many services as others would take from it (syscall.ENOSPC).
	ErrTooMany error = &cause{"too many services", syscall.ENOSPC}
	// ErrNodeClosed says that the node, this one, is closed (net.ErrClosed).
	ErrNodeClosed error = &cause{"node is closed", net.ErrClosed}
	// ErrConfig says that the node's Config is wrong: nothing works (fs.ErrInvalid).
	ErrConfig error = &cause{"invalid Config", fs.ErrInvalid}
)

// cause is an error with a standard error that it also is.
type cause struct {
	text string
	std  error
}

func (c *cause) Error() string        { return c.text }
func (c *cause) Is(target error) bool { return target == c.std }

// A NodeError says which node an operation failed on, or for, and why.
type NodeError struct {
	Host   uint64 // id of the node; 0 if none was found
	Node   string // its name, if it has proved one
	Reason string // for people; may be empty. The other end's may be anything
	Err    error  // one of this package's causes, or another error
	Ctx    error  // the context's error, if it was waited for until that ended
}

func (e *NodeError) Error() string {
	var s strings.Builder
	if e.Host != 0 {
		s.WriteString("node " + nodeText(e.Host, e.Node) + ": ")
	}
	s.WriteString(e.Err.Error())
	if e.Reason != "" {
		s.WriteString(": " + printable(e.Reason))
	}
	if e.Ctx != nil && e.Ctx != e.Err {
		s.WriteString(" (" + e.Ctx.Error() + ")")
	}
	return s.String()
}

// Unwrap returns the cause, and the context's error if there is one.
func (e *NodeError) Unwrap() []error {
	if e.Ctx == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Ctx}
}

// Is makes one whose time ran out match os.ErrDeadlineExceeded.
func (e *NodeError) Is(target error) bool { return target == os.ErrDeadlineExceeded && e.Timeout() }

// Timeout tells whether time ran out.
func (e *NodeError) Timeout() bool {
	for _, err := range e.Unwrap() {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			return true
		}
	}
	return false
}

// printable is a text that may be the other end's, as it can be shown: what can't be printed is escaped.
func printable(s string) string {
	if isPrintable(s) {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

func isPrintable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) })
}

// nodeText names a node for people.
func nodeText(id uint64, name string) string {
	if name == "" {
		return HostName(id)
	}
	return name + " (" + HostName(id) + ")"
}

// bare takes the addresses of what is below off an error.
func bare(err error) error {
	if oe, ok := err.(*net.OpError); ok {
		return oe.Err
	}
	return err
}
