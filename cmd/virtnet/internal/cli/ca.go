package cli

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet/astranet/ca"
)

func newCA() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Say who the nodes of a mesh are: make an authority, issue certificates, revoke them",
		Long: `Ca is a mesh's certificate authority: a directory, by default "ca" where you are. Nodes
that trust it know each other by the names in their certificates. It is not needed while
the mesh runs; keep it where no node is.

Certificates of another authority will do too. "virtnet ca show" says what is wrong with
one.`,
		Example: `  virtnet ca init
  virtnet ca issue node-a
  virtnet ca revoke node-a`,
		Args: noCommand,
		RunE: help,
	}
	cmd.AddCommand(newCAInit(), newCAIssue(), newCAShow(), newCARevoke())
	return cmd
}

// caFlags are those of all ca commands.
type caFlags struct {
	dir    string
	asJSON bool
}

func (f *caFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "dir", "ca", "the authority's `directory`")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON document")
	cmd.MarkFlagDirname("dir")
}

// open opens the authority.
func (f *caFlags) open() (*ca.Authority, error) {
	a, err := ca.OpenAuthority(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; \"virtnet ca init\" makes one, and --dir says where one is", err)
	}
	return a, err
}

// print prints a document, or what write writes.
func (f *caFlags) print(w io.Writer, doc any, write func(io.Writer)) error {
	if f.asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(doc)
	}
	var out bytes.Buffer
	write(&out)
	_, err := out.WriteTo(w)
	return err
}

// days returns a validity of so many days; 0 is what is usual.
func days(n float64) (time.Duration, error) {
	const most = 100 * 365
	if n < 0 || n > most || math.IsNaN(n) {
		return 0, &usageError{fmt.Errorf("--days %v: it is between 0 and %d", n, most)}
	}
	return time.Duration(n * float64(24*time.Hour)), nil
}

func date(t time.Time) string   { return t.UTC().Format("2006-01-02") }
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// remaining says how long it is until t.
func remaining(t time.Time) string {
	const day = 24 * time.Hour
	d := time.Until(t)
	if d <= 0 {
		return "none left"
	}
	for _, unit := range []struct {
		d    time.Duration
		name string
	}{{365 * day, "year"}, {day, "day"}, {time.Hour, "hour"}} {
		if n := int((d + unit.d/2) / unit.d); n >= 2 {
			return count(n, unit.name) + " left"
		}
	}
	return count(int((d+time.Minute/2)/time.Minute), "minute") + " left"
}

// keyKind says what a key is.
func keyKind(key crypto.PublicKey) string {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("%T", key)
}

// writeFile writes a file that is whole whenever it is there. Without replace it must not be there.
func writeFile(path string, data []byte, mode fs.FileMode, replace bool) error {
	to := path
	if replace {
		to += ".new"
		os.Remove(to) // of one that was interrupted
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil && replace {
		err = os.Rename(to, path)
	}
	if err != nil {
		os.Remove(to)
	}
	return err
}
