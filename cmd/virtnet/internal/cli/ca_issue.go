package cli

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet/astranet/ca"
)

// issueFlags are those of ca issue.
type issueFlags struct {
	caFlags
	out, csr     string
	days         float64
	renew, force bool
}

func newCAIssue() *cobra.Command {
	var flags issueFlags
	cmd := &cobra.Command{
		Use:   "issue NAME",
		Short: "Issue a node's certificate",
		Long: `Issue makes a certificate and a private key for the node NAME: NAME.pem and NAME.key, in
the directory of --out. NAME is who the node is to others. It is a name like node-a or
a.example, or a URI like spiffe://mesh/node-a.

Files that are there already are not written over, unless

  --renew  makes a new certificate for the key that is there, and replaces only that
  --force  makes a new key and a new certificate, and replaces both

A running node takes the new files by itself. The old certificate stays valid until it
expires or is revoked.

With --csr the key was made elsewhere, and never comes here: FILE is a certificate request
with it, as openssl makes them. The names in the request do not count.`,
		Example: `  virtnet ca issue node-a
  virtnet ca issue --out /etc/mesh --days 30 --renew spiffe://mesh/node-a`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.run(cmd.OutOrStdout(), args[0])
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&flags.out, "out", ".", "the `directory` for the files")
	cmd.Flags().Float64Var(&flags.days, "days", 365, "how many `days` it is valid; 0.5 is half a day")
	cmd.Flags().StringVar(&flags.csr, "csr", "", "the `file` with a certificate request")
	cmd.Flags().BoolVar(&flags.renew, "renew", false, "replace the certificate, keep the key")
	cmd.Flags().BoolVarP(&flags.force, "force", "f", false, "replace the certificate and the key")
	cmd.MarkFlagDirname("out")
	return cmd
}

func (f *issueFlags) run(w io.Writer, name string) error {
	if f.csr != "" && f.renew {
		return &usageError{errors.New("--renew is for the key that is there, and --csr for another: give one of them")}
	}
	validity, err := days(f.days)
	if err != nil {
		return err
	}
	base := filepath.Join(f.out, fileName(name))
	certFile, keyFile := base+".pem", base+".key"
	options := ca.IssueOptions{Validity: validity}
	if options.Key, err = f.key(keyFile); err != nil {
		return err
	}
	if err := f.free(certFile, keyFile, options.Key == nil); err != nil {
		return err
	}
	a, err := f.open()
	if err != nil {
		return err
	}
	issued, err := a.Issue(name, options)
	if err != nil {
		return err
	}
	doc := issuedJSON{Name: name, Serial: ca.Serial(issued.Cert.SerialNumber), Issuer: a.Name(), Since: issued.Cert.NotBefore,
		Expires: issued.Cert.NotAfter, Cert: certFile, Roots: ca.RootsPath(f.dir), Revoked: ca.RevokedPath(f.dir)}
	if _, err := os.Stat(doc.Revoked); err != nil { // an authority that was made otherwise
		doc.Revoked = ""
	}
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return err
	}
	if issued.KeyPEM != nil {
		doc.Key = keyFile
		if err := writeFile(keyFile, issued.KeyPEM, 0o600, f.force); err != nil {
			return err
		}
	}
	if err := writeFile(certFile, issued.CertPEM, 0o644, f.force || f.renew); err != nil {
		return err
	}
	return f.print(w, doc, func(w io.Writer) { doc.write(w, f) })
}

// key returns the key that is to be certified, nil for a new one.
func (f *issueFlags) key(keyFile string) (crypto.PublicKey, error) {
	switch {
	case f.csr != "":
		data, err := os.ReadFile(f.csr)
		if err != nil {
			return nil, err
		}
		key, err := ca.Request(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.csr, err)
		}
		return key, nil
	case f.renew && !f.force:
		data, err := os.ReadFile(keyFile)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no key to renew a certificate for: %w; without --renew there is a new one", err)
		}
		if err != nil {
			return nil, err
		}
		items, err := ca.Inspect(data, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", keyFile, err)
		}
		for _, item := range items {
			if item.Key != nil {
				return item.Key, nil
			}
		}
		return nil, fmt.Errorf("%s: there is no private key in it", keyFile)
	}
	return nil, nil
}

// free checks that no file is written over that must not be.
func (f *issueFlags) free(certFile, keyFile string, newKey bool) error {
	if f.force {
		return nil
	}
	for _, path := range []string{certFile, keyFile} {
		if path == certFile && f.renew || path == keyFile && !newKey {
			continue
		}
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("%s is there already, and stays as it is: --renew makes a new certificate for the same key, "+
				"--force a new key too, and --out names another directory", path)
		}
	}
	return nil
}

// fileName returns the name of a node's files, without what follows the dot.
func fileName(name string) string {
	if _, rest, ok := strings.Cut(name, "://"); ok {
		name = rest
	}
	name = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, name)
	if len(name) > 200 { // bytes; file systems take 255
		name = strings.ToValidUTF8(name[:200], "")
	}
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") {
		name = "_" + name[1:]
	}
	return name
}

// issuedJSON is the JSON document of ca issue.
type issuedJSON struct {
	Name    string    `json:"name"`
	Serial  string    `json:"serial"`
	Issuer  string    `json:"issuer"`
	Since   time.Time `json:"not_before"`
	Expires time.Time `json:"expires"`
	Cert    string    `json:"cert"`
	Key     string    `json:"key,omitempty"` // if it was made
	Roots   string    `json:"roots"`
	Revoked string    `json:"revoked,omitempty"` // if there is a list
}

func (d issuedJSON) write(w io.Writer, f *issueFlags) {
	fmt.Fprintf(w, "Issued a certificate for %s, valid until %s (%s).\n\n", printable(d.Name), date(d.Expires), remaining(d.Expires))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "  %s\tits certificate\n", d.Cert)
	if d.Key != "" {
		fmt.Fprintf(tw, "  %s\tits private key: for this node only\n", d.Key)
	}
	fmt.Fprintf(tw, "  %s\tthe authority's certificate, the same for all nodes\n", d.Roots)
	if d.Revoked != "" {
		fmt.Fprintf(tw, "  %s\twhat is revoked, the same for all nodes\n", d.Revoked)
	}
	tw.Flush()
	if days := 24 * time.Hour * time.Duration(f.days); time.Until(d.Expires) < days-time.Hour {
		fmt.Fprintf(w, "\nIt is valid for less than %v days because the authority is not valid for longer.\n", f.days)
	}
}
