package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/virtnet/virtnet/xnet"
)

// A client proposes numbered entries to whoever leads, and again until they are committed.
type client struct {
	host  xnet.Networker
	nodes []string
	beat  time.Duration
	rand  *rand.Rand
	model *model

	target   string
	conn     net.Conn
	next     uint32
	attempts map[uint32]uint32 // of the entries that are not committed: how many there were
}

// batch is how many entries a request has at most.
const batch = 60

// run proposes as long as more says so.
func (c *client) run(more func() bool) {
	c.attempts = make(map[uint32]uint32)
	c.target = c.nodes[0]
	defer c.hangUp()
	for more() {
		pause := time.Duration(c.rand.Int64N(int64(2 * c.beat)))
		if err := c.propose(c.pick()); err != nil {
			c.hangUp()
			pause = c.beat / 4
		}
		time.Sleep(pause)
	}
}

// pick returns attempts of entries that are not committed, and of new ones.
func (c *client) pick() []attempt {
	n := 1 + c.rand.IntN(batch)
	for len(c.attempts) < n {
		c.attempts[c.next] = 0
		c.next++
	}
	var all []attempt
	for entry := range c.attempts {
		all = append(all, attempt{entry, c.attempts[entry] + 1})
	}
	slices.SortFunc(all, func(a, b attempt) int { return int(a.Entry) - int(b.Entry) })
	all = all[:n]
	for _, a := range all {
		c.attempts[a.Entry] = a.Attempt
	}
	return all
}

// propose sends proposals, and has the model know what became of them. After an error it is somebody else's turn.
func (c *client) propose(proposals []attempt) error {
	ans, err := c.call(request{proposals})
	if err != nil {
		c.target = c.nodes[(slices.Index(c.nodes, c.target)+1)%len(c.nodes)]
		return err
	}
	if len(ans.Outcomes) != len(proposals) {
		return fmt.Errorf("%d outcomes of %d proposals", len(ans.Outcomes), len(proposals))
	}
	var last error
	for i, o := range ans.Outcomes {
		c.model.answered(proposals[i], o)
		if o.Err == "" {
			delete(c.attempts, proposals[i].Entry)
		} else {
			last = errors.New(o.Err)
		}
	}
	if last != nil {
		c.target = c.nodes[(slices.Index(c.nodes, c.target)+1)%len(c.nodes)]
		if ans.Leader != "" {
			c.target = ans.Leader
		}
	}
	return last
}

// call sends a request to the target, and waits for the answer, though not for ever.
func (c *client) call(req request) (ans answer, err error) {
	if c.conn == nil {
		ctx, cancel := context.WithTimeout(context.Background(), c.beat)
		defer cancel()
		if c.conn, err = c.host.Dial(ctx, c.target+proposePort); err != nil {
			c.conn = nil
			return ans, err
		}
	}
	if err := c.conn.SetDeadline(time.Now().Add(3 * c.beat)); err != nil {
		return ans, err
	}
	if err := json.NewEncoder(c.conn).Encode(req); err != nil {
		return ans, err
	}
	return ans, json.NewDecoder(c.conn).Decode(&ans)
}

func (c *client) hangUp() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}
