package cli

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet/astranet/ca"
)

// showFlags are those of ca show.
type showFlags struct {
	caFlags
	roots, revoked string
}

func newCAShow() *cobra.Command {
	var flags showFlags
	cmd := &cobra.Command{
		Use:   "show [DIR|FILE...]",
		Short: "Show an authority, or what is in a file and what is wrong with it",
		Long: `Show lists the authority in DIR, or that of --dir, and what it has issued, with its state:

  good, expired, revoked

Of a FILE it shows every certificate, revocation list and private key (not the key itself),
and whether a node would accept it; if not, why. What is trusted and revoked is said by
--roots and --revoked, or else by the authority of --dir, if there is one.

Show exits with 1 if something is wrong with what is in a file.`,
		Example: `  virtnet ca show
  virtnet ca show node-a.pem
  virtnet ca show --roots /etc/mesh/ca.pem --revoked /etc/mesh/revoked.pem /etc/mesh/node-a.pem`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{flags.dir}
			}
			var doc showJSON
			for _, arg := range args {
				var err error
				info, serr := os.Stat(arg)
				switch {
				case serr != nil && arg != flags.dir:
					return serr
				case serr == nil && !info.IsDir():
					err = flags.file(arg, &doc)
				default:
					err = flags.authority(arg, &doc)
				}
				if err != nil {
					return err
				}
			}
			if err := flags.print(cmd.OutOrStdout(), doc, doc.write); err != nil {
				return err
			}
			return doc.problem()
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&flags.roots, "roots", "", "the `file` with the authorities that are trusted")
	cmd.Flags().StringVar(&flags.revoked, "revoked", "", "the `file` with revocation lists")
	return cmd
}

// The JSON document of ca show.
type (
	showJSON struct {
		Authorities []showAuthorityJSON `json:"authorities,omitempty"`
		Files       []showFileJSON      `json:"files,omitempty"`
	}
	showAuthorityJSON struct {
		authorityJSON
		Issued []showIssuedJSON `json:"issued"`
		// Unreadable is what could not be read of the record.
		Unreadable string `json:"unreadable,omitempty"`
	}
	showIssuedJSON struct {
		Name      string     `json:"name"`
		Serial    string     `json:"serial"`
		Authority bool       `json:"authority,omitempty"`
		Since     time.Time  `json:"not_before"`
		Expires   time.Time  `json:"expires"`
		State     string     `json:"state"` // good, expired, revoked
		RevokedAt *time.Time `json:"revoked_at,omitempty"`
	}
	showFileJSON struct {
		File  string         `json:"file"`
		Roots string         `json:"roots,omitempty"` // what it was judged by
		Items []showItemJSON `json:"items"`
	}
	showItemJSON struct {
		Kind    string     `json:"kind"` // node, authority, list, key
		Name    string     `json:"name,omitempty"`
		Serial  string     `json:"serial,omitempty"`
		Issuer  string     `json:"issuer,omitempty"`
		Since   *time.Time `json:"not_before,omitempty"`
		Expires *time.Time `json:"expires,omitempty"`
		Key     string     `json:"key,omitempty"`
		Revoked *int       `json:"revoked,omitempty"` // how many, on a list
		Good    bool       `json:"good"`
		Problem string     `json:"problem,omitempty"`
	}
)

// authority adds the authority in a directory.
func (f *showFlags) authority(dir string, doc *showJSON) error {
	a, err := (&caFlags{dir: dir}).open()
	if err != nil {
		return err
	}
	j := showAuthorityJSON{authorityJSON: authorityDoc(a, dir), Issued: []showIssuedJSON{}}
	issued, err := a.Issued()
	if err != nil {
		j.Unreadable = err.Error()
	}
	revoked := a.Revoked()
	for _, c := range issued {
		i := showIssuedJSON{Name: certName(c), Serial: ca.Serial(c.SerialNumber), Authority: c.IsCA,
			Since: c.NotBefore, Expires: c.NotAfter, State: "good"}
		if at, ok := revoked[i.Serial]; ok {
			i.State, i.RevokedAt = "revoked", &at
		} else if time.Now().After(c.NotAfter) {
			i.State = "expired"
		}
		j.Issued = append(j.Issued, i)
	}
	doc.Authorities = append(doc.Authorities, j)
	return nil
}

// file adds what is in a file.
func (f *showFlags) file(path string, doc *showJSON) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	rootsPath, roots, revoked, err := f.trust()
	if err != nil {
		return err
	}
	items, err := ca.Inspect(data, roots, revoked)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	j := showFileJSON{File: path, Roots: rootsPath, Items: []showItemJSON{}}
	for _, item := range items {
		j.Items = append(j.Items, showItem(item))
	}
	doc.Files = append(doc.Files, j)
	return nil
}

// trust reads what is trusted and revoked; roots is nil if that is not known.
func (f *showFlags) trust() (path string, roots, revoked []byte, err error) {
	path, list := f.roots, f.revoked
	if path == "" {
		path = ca.RootsPath(f.dir)
		if _, err := os.Stat(path); err != nil {
			if f.revoked != "" {
				return "", nil, nil, &usageError{errors.New("--revoked goes with --roots")}
			}
			return "", nil, nil, nil
		}
		if list == "" {
			list = ca.RevokedPath(f.dir)
			if _, err := os.Stat(list); err != nil {
				list = ""
			}
		}
	}
	if roots, err = os.ReadFile(path); err == nil && list != "" {
		revoked, err = os.ReadFile(list)
	}
	if err == nil { // so that errors of these name them
		if _, err = ca.Inspect(roots, roots, nil); err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		} else if _, err = ca.Inspect(roots, roots, revoked); err != nil {
			err = fmt.Errorf("%s: %w", list, err)
		}
	}
	return path, roots, revoked, err
}

func showItem(item ca.Item) showItemJSON {
	j := showItemJSON{Good: item.Problem == nil}
	if item.Problem != nil {
		j.Problem = item.Problem.Error()
	}
	if e, ok := errors.AsType[*ca.Error](item.Problem); ok && e.Cert == item.Cert {
		j.Problem = "it " + e.Detail // which it is has been said
	}
	switch c, l := item.Cert, item.List; {
	case c != nil:
		j.Kind, j.Name, j.Serial, j.Issuer = "node", certName(c), ca.Serial(c.SerialNumber), issuer(c)
		j.Since, j.Expires, j.Key = &c.NotBefore, &c.NotAfter, keyKind(c.PublicKey)
		if c.IsCA {
			j.Kind = "authority"
		}
	case l != nil:
		n := len(l.RevokedCertificateEntries)
		j.Kind, j.Issuer, j.Revoked, j.Since = "list", l.Issuer.CommonName, &n, &l.ThisUpdate
		if !l.NextUpdate.IsZero() {
			j.Expires = &l.NextUpdate
		}
	default:
		j.Kind, j.Key = "key", keyKind(item.Key)
	}
	return j
}

func issuer(c *x509.Certificate) string {
	if c.Issuer.CommonName != "" {
		return c.Issuer.CommonName
	}
	return c.Issuer.String()
}

// problem is the error of the command when something is wrong with what it has shown.
func (d showJSON) problem() error {
	n := 0
	for _, f := range d.Files {
		for _, i := range f.Items {
			if !i.Good {
				n++
			}
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%s, see above", count(n, "problem"))
}

func (d showJSON) write(w io.Writer) {
	for i, a := range d.Authorities {
		if i > 0 {
			fmt.Fprintln(w)
		}
		a.write(w)
	}
	for i, f := range d.Files {
		if i > 0 || len(d.Authorities) > 0 {
			fmt.Fprintln(w)
		}
		f.write(w)
	}
}

func (a showAuthorityJSON) write(w io.Writer) {
	fmt.Fprintf(w, "%s, an authority in %s, valid until %s (%s)\n", printable(a.Name), a.Dir, date(a.Expires), remaining(a.Expires))
	if a.Issuer != a.Name {
		fmt.Fprintf(w, "below the authority %s\n", printable(a.Issuer))
	}
	fmt.Fprintln(w)
	if len(a.Issued) == 0 {
		fmt.Fprintln(w, "It has issued nothing.")
	} else {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "NAME\tSERIAL\tSINCE\tEXPIRES\tSTATE")
		for _, i := range a.Issued {
			state := i.State
			if i.RevokedAt != nil {
				state += " " + minute(*i.RevokedAt)
			}
			if i.Authority {
				state += ", an authority"
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", printable(i.Name), i.Serial, date(i.Since), date(i.Expires), state)
		}
		tw.Flush()
	}
	if a.Unreadable != "" {
		fmt.Fprintf(w, "\nThis could not be read:\n%s\n", a.Unreadable)
	}
}

func (f showFileJSON) write(w io.Writer) {
	fmt.Fprintf(w, "%s\n", f.File)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, i := range f.Items {
		i.write(tw, f.Roots)
	}
	tw.Flush()
}

func (i showItemJSON) write(w io.Writer, roots string) {
	good := "good"
	switch i.Kind {
	case "key":
		fmt.Fprintf(w, "  private key\t%s\n", i.Key)
		good = ""
	case "list":
		fmt.Fprintf(w, "  revocation list\t%s of %s, %s\n", count(*i.Revoked, "certificate"), printable(i.Issuer), minute(*i.Since))
		if roots != "" {
			good = "good, by " + roots
		}
	default:
		fmt.Fprintf(w, "  %s\t%s\n    serial\t%s\n    issued by\t%s\n", i.Kind, printable(i.Name), i.Serial, printable(i.Issuer))
		fmt.Fprintf(w, "    valid\t%s to %s (%s)\n    key\t%s\n", minute(*i.Since), minute(*i.Expires), remaining(*i.Expires), i.Key)
		good = "nothing is wrong in itself; with --roots it is known whether it can be trusted"
		if roots != "" {
			good = "good, by " + roots
		}
	}
	if i.Problem != "" {
		good = "not good: " + harmless(i.Problem)
	}
	if good != "" {
		fmt.Fprintf(w, "    state\t%s\n", good)
	}
}

// harmless returns text in which names are quoted, in a form that does nothing to a terminal.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
