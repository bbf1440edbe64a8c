package ca

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"
)

// Files say where a node's credentials are: PEM files, which may be replaced while the node runs.
//
// Each second, or after each Poll, it is looked whether one has been replaced, by stat, symbolic links followed, as
// Kubernetes has them. A new file that is cut off, damaged, not good, another node's, or not there, is not used: what was there
// before stays, the trouble is logged, once, and it is looked again. The certificate with its key, the roots, and
// the revocation lists are judged one by one, so that trouble with one does not keep another from being used. Who replaces a
// file should write a new one and rename it; a file that is cut off between two PEM blocks passes for whole.
type Files struct {
	Cert    string // the node's certificate, and behind it those of the authorities between it and a root, if there are any
	Key     string // its private key; "" is Cert: both are in that file
	Roots   string // the certificates of the authorities that are trusted, one or more
	Revoked string // the revocation lists of authorities, one or more; "": nothing is revoked

	// Poll is how often it is looked whether the files have been replaced: each second if it is 0; negative is only with
	// Reload.
	Poll time.Duration
	// Logger gets what an operator wants to know: that files were replaced, and why one is not used. Nothing by default.
	Logger *slog.Logger
}

func (f Files) poll() time.Duration {
	if f.Poll == 0 {
		return time.Second
	}
	return f.Poll
}

func (f Files) logger() *slog.Logger {
	if f.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return f.Logger
}

func (f Files) paths() paths {
	p := paths{f.Cert, f.Key, f.Roots, f.Revoked}
	if p.key == "" {
		p.key = p.cert
	}
	return p
}

// Open reads the files, and watches them in a goroutine until [Credentials.Close]. The files must be good now; the error
// is an [*Error] if the certificate is one that others would not accept.
func (f Files) Open() (*Credentials, error) {
	p := f.paths()
	if p.cert == "" || p.roots == "" {
		return nil, errors.New("a certificate's file and a roots' file are needed, and one is not named")
	}
	w := &watch{paths: p, log: f.logger(), stop: make(chan struct{}), done: make(chan struct{})}
	w.look() // before they are read
	m, err := p.read(Material{})
	if err != nil {
		return nil, err
	}
	s, err := m.state(p)
	if err != nil {
		return nil, err
	}
	c := newCredentials(s)
	c.watch, w.c, w.used = w, c, m
	w.tellAge(s)
	if poll := f.poll(); poll > 0 {
		go w.run(poll)
	} else {
		close(w.done)
	}
	return c, nil
}

// Reload looks at once whether files have been replaced. The error says which are not used, and why. For credentials that
// are from memory it does nothing.
func (c *Credentials) Reload() error {
	if c.watch == nil {
		return nil
	}
	return c.watch.check()
}

// Close ends the watching of files. The credentials go on to work, and stay as they are.
func (c *Credentials) Close() error {
	if c.watch != nil {
		c.watch.close()
	}
	return nil
}

// read reads all files. What of one that cannot be read is as before.
func (p paths) read(before Material) (Material, error) {
	m := before
	var errs []error
	for _, f := range []struct {
		path string
		data *[]byte
	}{{p.cert, &m.Cert}, {p.key, &m.Key}, {p.roots, &m.Roots}, {p.revoked, &m.Revoked}} {
		if f.path == "" {
			continue
		}
		data, err := readFile(f.path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		*f.data = data
	}
	return m, errors.Join(errs...)
}

// maxFile is how large a file may be: room for a million revoked certificates.
const maxFile = 64 << 20

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // which one might wait for, for ever
		return nil, fmt.Errorf("%s: it is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s: it is larger than %d bytes", path, maxFile)
	}
	return data, err
}
