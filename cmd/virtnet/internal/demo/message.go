package demo

import (
	"encoding/json"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/virtnet/virtnet/astranet/ca"
)

// A task is what the parent tells a process to do: one JSON value on the process's standard input. The input
// then stays open for as long as the parent lives.
type task struct {
	Network string `json:"network"` // as given to lonet.Join
	Host    string `json:"host"`    // host to be on it

	// A server's:
	Dir  string `json:"dir,omitempty"`  // directory to serve
	Hold string `json:"hold,omitempty"` // file of it to stop in the middle of, if any

	// A fetcher's:
	From  string   `json:"from,omitempty"`  // host to fetch from
	Files []string `json:"files,omitempty"` // what to fetch, in this order

	Mesh *meshTask `json:"mesh,omitempty"` // if it is a node of a mesh, and no host on a network
}

// A meshTask is what makes a process a node.
type meshTask struct {
	Credentials ca.Material `json:"credentials"`
	Join        string      `json:"join,omitempty"` // address of the node to be linked with; a server has none
}

// kind is what an event is about.
type kind string

const (
	ready      kind = "ready"       // the host is up; a server listens
	advance    kind = "progress"    // a fetcher has more: Got bytes in all, Offset bytes of File
	cut        kind = "cut"         // a fetcher's connection broke after Offset bytes of File
	dialFailed kind = "dial failed" // a fetcher's dial ended with Error
	fetched    kind = "fetched"     // a fetcher has all of File: Offset bytes, with this SHA-256
	done       kind = "done"        // a fetcher has all files
	failed     kind = "failed"      // the process gives up, for Error
	ended      kind = "ended"       // the process is no more; the parent's own
)

// An event is what a process tells the parent: JSON lines on the process's standard output.
type event struct {
	Kind    kind          `json:"event"`
	Host    string        `json:"host"`
	PID     int           `json:"pid,omitempty"`
	Address string        `json:"address,omitempty"` // ready: where a node of a mesh takes links
	File    string        `json:"file,omitempty"`
	Offset  int64         `json:"offset,omitempty"`
	Got     int64         `json:"got,omitempty"`
	Resumed int64         `json:"resumed,omitempty"` // fetched: where the last request for the file began
	SHA256  string        `json:"sha256,omitempty"`
	Error   string        `json:"error,omitempty"`
	Refused bool          `json:"refused,omitempty"` // dialFailed: errors.Is(err, virtnet.ErrConnRefused)
	Took    time.Duration `json:"took_ns,omitempty"` // ready: making the host; dialFailed: the dial
}

// gone tells whether a dial was refused because the host's process is gone.
func (e event) gone() bool { return e.Refused && strings.HasSuffix(e.Error, "is gone") }

// A teller writes a process's events. Its tell may be called from many goroutines.
type teller struct {
	host string
	mu   sync.Mutex
	out  *json.Encoder
}

func newTeller(host string, w io.Writer) *teller {
	return &teller{host: host, out: json.NewEncoder(w)}
}

// tell writes e. A parent that does not listen any more is gone, and its process about to end.
func (t *teller) tell(e event) {
	e.Host = t.host
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.Encode(e)
}
