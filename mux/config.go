package mux

import (
	"log/slog"
	"math"
	"time"
)

// Config is how an end of a session behaves. The zero value is right for most. The two ends of a session need not
// agree on anything in it. A Config may be used for many sessions, and must not be changed meanwhile.
type Config struct {
	// Limits are the session's at its beginning; see [Session.SetLimits].
	Limits Limits

	// KeepAlive is how long the other end may be silent before it is asked for a sign of life. 0 is 15 s, negative is
	// never. Half of Timeout is the most.
	KeepAlive time.Duration
	// Timeout is how long the other end may be silent, or not take what is to be sent, before the session ends with
	// ErrTimeout. Any byte that comes is a sign of life. 0 is twice KeepAlive, or 30 s without keep-alives; then
	// it is of effect only in the beginning and the end of a session.
	Timeout time.Duration

	// Resume, if not nil, lets the session go on with a new carrier when the present one fails.
	Resume *Resume

	// Logger gets what an operator may want to know of a session, nothing by default. Handlers are called on
	// goroutines of the session and must not block.
	Logger *slog.Logger
}

// Limits bound what the other end of a session can make this end keep. A field that is 0 has the default value. An end
// that has not heard of the other's limits yet keeps to 64 KiB a stream, 1 MiB in all and 16 streams: lower limits are
// taken for these.
type Limits struct {
	// StreamWindow is how many bytes of a stream may be received and not read, in the beginning: 64 KiB by default.
	StreamWindow int
	// MaxStreamWindow is what it may grow to when the stream's reader is faster than the window allows: 16 MiB by
	// default.
	MaxStreamWindow int
	// SessionWindow is how many bytes of all streams together may be received and not read: 32 MiB by default. Half of it is
	// for the first StreamWindow of the streams, the other half for what windows have grown. What lies unread leaves the
	// others the rest; if it is nearly all, data of all streams waits.
	SessionWindow int
	// MaxStreams is how many streams that the other end has opened may be there at once, 1<<20 by default. One counts
	// until it is closed here. The other end's Open waits at the limit.
	MaxStreams int
	// AcceptBacklog is how many streams may wait for an Accept: 1024 by default. The other end's Open waits at the
	// limit.
	AcceptBacklog int
}

const (
	defaultKeepAlive = 15 * time.Second
	defaultTimeout   = 30 * time.Second
)

// orDefault returns n within bounds, or def for 0.
func orDefault(n, def, least, most int) int {
	if n == 0 {
		n = def
	}
	return min(max(n, least), most)
}

// effective returns the limits with the defaults filled in.
func (l Limits) effective() Limits {
	window := orDefault(l.StreamWindow, 64<<10, firstCredit, math.MaxInt32)
	return Limits{
		StreamWindow:    window,
		MaxStreamWindow: orDefault(l.MaxStreamWindow, max(16<<20, window), window, math.MaxInt32),
		SessionWindow:   orDefault(l.SessionWindow, max(32<<20, 2*window), max(firstLimit, window), math.MaxInt),
		MaxStreams:      orDefault(l.MaxStreams, 1<<20, firstStreams, math.MaxInt),
		AcceptBacklog:   orDefault(l.AcceptBacklog, 1024, firstStreams, math.MaxInt),
	}
}

func (c *Config) limits() Limits {
	if c == nil {
		return Limits{}.effective()
	}
	return c.Limits.effective()
}

// keepAlive is 0 for never.
func (c *Config) keepAlive() time.Duration {
	switch {
	case c == nil:
		return defaultKeepAlive
	case c.KeepAlive < 0:
		return 0
	}
	k := c.KeepAlive
	if k == 0 {
		k = defaultKeepAlive
	}
	if c.Timeout > 0 {
		k = min(k, max(c.Timeout/2, 1))
	}
	return k
}

func (c *Config) timeout() time.Duration {
	if c != nil && c.Timeout > 0 {
		return c.Timeout
	}
	if k := c.keepAlive(); k > 0 {
		return 2 * k
	}
	return defaultTimeout
}

func (c *Config) resume() *Resume {
	if c == nil {
		return nil
	}
	return c.Resume
}

func (c *Config) logger() *slog.Logger {
	if c == nil || c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}
