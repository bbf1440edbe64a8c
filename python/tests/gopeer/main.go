// Gopeer is a process on lonet networks, in Go, that does what the tests of the Python package tell it: the other end
// of what they do.
//
// It reads requests from standard input and writes replies to standard output, JSON objects, one a line. Requests run at the
// same time; a reply has the id of its request. When the input ends, so does the process. pypeer.py is the same in Python.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"sync"
	"time"

	"github.com/virtnet/virtnet/xnet"
)

// request is what a test wants. Which of the fields count says the command; On is the number of the object it is for.
type request struct {
	ID      int      `json:"id"`
	Cmd     string   `json:"cmd"`
	On      int      `json:"on"`
	Temp    string   `json:"temp"`
	Name    string   `json:"name"`
	Addr    string   `json:"addr"`
	Backlog int      `json:"backlog"`
	Timeout *float64 `json:"timeout"` // seconds, none if it isn't there
	Size    int64    `json:"size"`
	Data    []byte   `json:"data"`
}

// reply is what came of it.
type reply struct {
	ID     int      `json:"id"`
	Error  *failure `json:"error,omitempty"`
	Obj    int      `json:"obj,omitempty"` // number of a new object
	Name   string   `json:"name,omitempty"`
	Net    string   `json:"net,omitempty"`
	Local  string   `json:"local,omitempty"`
	Remote string   `json:"remote,omitempty"`
	Data   []byte   `json:"data,omitempty"`
	Size   int64    `json:"size"`
	Sum    string   `json:"sum,omitempty"`
	Is     bool     `json:"is"`
}

// peer has the objects that requests made.
type peer struct {
	mu   sync.Mutex
	objs map[int]any
	last int
	out  *json.Encoder
}

func main() {
	if len(os.Args) > 1 { // the child that "child" starts
		<-time.After(time.Minute)
		return
	}
	p := &peer{objs: make(map[int]any), out: json.NewEncoder(os.Stdout)}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var r request
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			p.answer(reply{Error: failed(err)})
			continue
		}
		go p.serve(r)
	}
}

// serve obeys one request.
func (p *peer) serve(r request) {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if r.Timeout != nil {
		ctx, cancel = context.WithTimeout(ctx, seconds(*r.Timeout))
	}
	defer cancel()
	var got reply
	var err error
	if f := commands[r.Cmd]; f == nil {
		err = errUnknown
	} else {
		got, err = f(p, ctx, r)
	}
	got.ID, got.Error = r.ID, failed(err)
	p.answer(got)
}

func (p *peer) answer(r reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(r) // if nobody reads it, the input ends too
}

// enter gives an object a number.
func (p *peer) enter(obj any) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	p.objs[p.last] = obj
	return p.last
}

// on returns the object of a request.
func on[T any](p *peer, r request) (T, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	obj, ok := p.objs[r.On].(T)
	if !ok {
		return obj, errUnknown
	}
	return obj, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// echo makes whoever dials l hear what they say, until l is closed.
func echo(l xnet.Listener) {
	for {
		c, err := l.Accept(context.Background())
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // with no descriptors but the connection's own
		}()
	}
}
