// Package demo is the story that the command "virtnet demo" tells: host α serves a directory over HTTP, hosts
// β and γ fetch every file, each host in a process of its own; α is killed in the middle, comes back under its
// name, and not a byte is missing. Then two nodes of a mesh do the same between them, over a link of TLS.
//
// [Run] is the parent, which has no host of its own. The processes call [Process]: they hear their task on
// standard input and tell what happens on standard output, in the words of message.go.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Config says how to run the demo.
type Config struct {
	Command  []string  // how to start a process that calls Process; required
	Dir      string    // directory to serve; "" makes one for the time of the demo
	Out      io.Writer // gets the account
	JSON     bool      // the account is JSON, a value a line
	Terminal bool      // Out is a terminal, where a line can be written over
}

// Run tells the story. It returns nil if all that it checks on the way held, and the account could be written. If ctx
// ends it early, the error is ctx's cause. When it returns no process, network or file of the demo is left, however
// it ended.
func Run(ctx context.Context, c Config) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out := &outlet{to: c.Out, stop: stop}
	d := &demo{
		Config:  c,
		account: newText(out, c.Terminal),
		crew:    newCrew(c.Command),
		server:  &party{host: "α"},
		clients: []*party{{host: "β"}, {host: "γ"}},
	}
	if c.JSON {
		d.account = newJSON(out)
	}
	err := d.story(ctx)
	early := err != nil && ctx.Err() != nil
	if early {
		err = context.Cause(ctx) // whatever else it was, it came of that
	}
	err = errors.Join(err, d.clean())
	if err == nil && d.broken > 0 {
		err = fmt.Errorf("%d of %d checks did not hold", d.broken, d.checks)
	}
	d.account.end(err, early, d.checks)
	if err == nil {
		err = out.err
	}
	return err
}

// demo is a demo in progress. One goroutine has it.
type demo struct {
	Config
	account account
	steps   int
	checks  int
	broken  int // checks that did not hold

	tmp        string       // the directory that the demo made, if any
	network    string       // name of the network, as given to lonet.Join
	networkDir string       // its directory
	leave      func() error // leaves the network
	crew       *crew

	files   []file
	server  *party
	clients []*party
	others  []*party // nodes of the mesh
}

// step begins a numbered part of the account.
func (d *demo) step(format string, args ...any) {
	d.steps++
	d.account.step(d.steps, fmt.Sprintf(format, args...))
}

func (d *demo) say(format string, args ...any) { d.account.say(fmt.Sprintf(format, args...)) }

// check puts down whether something held that the demo is there to show.
func (d *demo) check(held bool, format string, args ...any) {
	d.checks++
	if !held {
		d.broken++
	}
	d.account.check(held, fmt.Sprintf(format, args...))
}

// clean ends and removes everything. It may be called again.
func (d *demo) clean() error {
	err := d.crew.end()
	if d.leave != nil {
		err = errors.Join(err, d.leave())
	}
	if d.networkDir != "" {
		err = errors.Join(err, os.RemoveAll(d.networkDir))
	}
	if d.tmp != "" {
		err = errors.Join(err, os.RemoveAll(d.tmp))
	}
	return err
}
