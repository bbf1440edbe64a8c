package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/virtnet/virtnet"
)

const (
	dialLimit   = 5 * time.Second
	retryEvery  = 20 * time.Millisecond
	reportEvery = 50 * time.Millisecond
)

// fetcher gets files from a host over HTTP. When the host dies it dials until the host is back, and goes on
// at the byte where it was.
type fetcher struct {
	from   string
	to     *teller
	client *http.Client

	mu sync.Mutex
	at event // where the transfer is, as an event to tell
}

// fetch gets t.Files from t.From over the transport, and then waits until ctx is done.
func fetch(ctx context.Context, transport *http.Transport, t *task, to *teller) error {
	f := &fetcher{from: t.From, to: to, at: event{Kind: advance}}
	transport.DialContext = f.telling(transport.DialContext)
	transport.ResponseHeaderTimeout = 10 * time.Second
	defer transport.CloseIdleConnections()
	f.client = &http.Client{Transport: transport}

	stop := f.reportEvery(reportEvery)
	defer stop()
	for _, name := range t.Files {
		if err := f.file(ctx, name); err != nil {
			return err
		}
	}
	stop()
	to.tell(event{Kind: done})
	<-ctx.Done()
	return ctx.Err()
}

// dialFunc is the type of http.Transport's DialContext.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// telling returns dial with a limit of time, and telling what fails.
func (f *fetcher) telling(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialLimit)
		defer cancel()
		start := time.Now()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			f.to.tell(event{Kind: dialFailed, Error: err.Error(), Took: time.Since(start),
				Refused: errors.Is(err, virtnet.ErrConnRefused)})
		}
		return conn, err
	}
}

// file gets one file, in as many requests as it takes, and tells its SHA-256.
func (f *fetcher) file(ctx context.Context, name string) error {
	f.begin(name)
	sum := sha256.New()
	var begin int64
	for {
		err := f.get(ctx, name, begin, sum)
		at := f.where()
		if err == nil {
			f.to.tell(event{Kind: fetched, File: name, Offset: at.Offset, Got: at.Got, Resumed: begin,
				SHA256: hex.EncodeToString(sum.Sum(nil))})
			return nil
		}
		var answer *answerError
		if ctx.Err() != nil || errors.As(err, &answer) {
			return err
		}
		if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "dial" {
			f.to.tell(event{Kind: cut, File: name, Offset: at.Offset, Got: at.Got, Error: err.Error()})
		}
		begin = at.Offset
		select {
		case <-time.After(retryEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// get requests a file from byte begin on, and adds what comes to sum.
func (f *fetcher) get(ctx context.Context, name string, begin int64, sum hash.Hash) error {
	u := url.URL{Scheme: "http", Host: f.from + ":80", Path: "/" + name}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	want := http.StatusOK
	if begin > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", begin))
		want = http.StatusPartialContent
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return &answerError{u.String(), resp.Status, string(text)}
	}
	_, err = io.Copy(io.MultiWriter(sum, (*counter)(f)), resp.Body)
	return err
}

// answerError is an answer that asking again does not better.
type answerError struct{ url, status, text string }

func (e *answerError) Error() string { return fmt.Sprintf("get %s: %s: %s", e.url, e.status, e.text) }

// begin notes that a file begins.
func (f *fetcher) begin(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at.File, f.at.Offset = name, 0
}

// where returns how far the transfer is.
func (f *fetcher) where() event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

// counter is the fetcher as an io.Writer that notes how much was written.
type counter fetcher

func (c *counter) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at.Offset += int64(len(b))
	c.at.Got += int64(len(b))
	return len(b), nil
}

// reportEvery tells how far the transfer is whenever that has changed, until stop is called.
func (f *fetcher) reportEvery(d time.Duration) (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(d)
		defer tick.Stop()
		var last event
		for {
			select {
			case <-tick.C:
				if at := f.where(); at != last {
					f.to.tell(at)
					last = at
				}
			case <-quit:
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		close(quit)
		wg.Wait()
	})
}
