package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// patience is how long the demo waits without hearing of any progress.
const patience = 15 * time.Second

// A party is a host of the demo, as the parent knows it from what its process told.
type party struct {
	host   string
	pid    int   // of the process it has now
	up     event // its host is up
	dead   bool  // its process has ended
	doomed bool  // its process is to end

	// Of a client:
	at    event            // how far it is
	cut   *event           // its connection broke
	lost  *event           // a dial said that the server's process is gone
	files map[string]event // what it has, by name
	done  bool             // it has everything
}

// hear takes note of an event of the party. It is an error if the demo cannot go on after it.
func (p *party) hear(e event) error {
	switch e.Kind {
	case ready:
		p.up = e
	case advance:
		p.at = e
	case cut:
		p.cut = &e
	case dialFailed:
		if p.cut != nil && p.lost == nil && e.gone() {
			p.lost = &e
		}
	case fetched:
		if p.files == nil {
			p.files = make(map[string]event)
		}
		p.files[e.File] = e
		p.at.Got = e.Got
	case done:
		p.done = true
	case failed:
		return fmt.Errorf("%s (process %d): %s", p.host, p.pid, e.Error)
	case ended:
		if p.dead = true; !p.doomed {
			return fmt.Errorf("%s: process %d has ended: %s", p.host, p.pid, e.Error)
		}
	}
	return nil
}

// differing returns the names of the files that the party does not have as they are.
func (p *party) differing(files []file) (names []string) {
	for _, f := range files {
		if got := p.files[f.name]; got.Offset != f.size || got.SHA256 != f.sha256 {
			names = append(names, f.name)
		}
	}
	return names
}

// until hears what the processes tell until cond holds. What says what that is.
func (d *demo) until(ctx context.Context, what string, cond func() bool) error {
	idle := time.NewTimer(patience)
	defer idle.Stop()
	for !cond() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		select {
		case e := <-d.crew.heard:
			if err := d.hear(e); err != nil {
				return err
			}
			if e.Kind != dialFailed { // a client dials for ever
				idle.Reset(patience)
			}
		case <-idle.C:
			return fmt.Errorf("nothing has happened for %v, while waiting until %s", patience, what)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// hear takes note of an event, and shows it.
func (d *demo) hear(e event) error {
	d.account.event(e)
	parties := slices.Concat([]*party{d.server}, d.clients, d.others)
	i := slices.IndexFunc(parties, func(p *party) bool { return p.host == e.Host })
	if i < 0 {
		return nil
	}
	if err := parties[i].hear(e); err != nil {
		return err
	}
	if e.Kind == advance || e.Kind == fetched {
		d.account.progress(d.bars())
	}
	return nil
}

// bars shows how far the clients are.
func (d *demo) bars() string {
	const width = 20
	all := max(total(d.files), 1)
	var texts []string
	for _, c := range d.clients {
		full := int(width * c.at.Got / all)
		texts = append(texts, fmt.Sprintf("%s %s%s %3d%%", c.host,
			strings.Repeat("█", full), strings.Repeat("░", width-full), 100*c.at.Got/all))
	}
	return strings.Join(texts, "   ")
}
