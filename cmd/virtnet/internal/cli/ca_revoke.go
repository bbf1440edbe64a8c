package cli

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet/astranet/ca"
)

func newCARevoke() *cobra.Command {
	var flags caFlags
	cmd := &cobra.Command{
		Use:   "revoke NAME|SERIAL|FILE...",
		Short: "Revoke certificates",
		Long: `Revoke puts certificates on the authority's list of what nodes must not accept any more:

  NAME    all that are valid of the node of that name
  SERIAL  the one with that serial number, or the only one whose number begins so
  FILE    the one in that file

The list is the file revoked.pem in the authority's directory. A node that watches a copy
of it drops the links of those it names within seconds once its copy is replaced.`,
		Example: `  virtnet ca revoke node-a`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{errors.New("it is not said what to revoke: NAME, SERIAL or FILE")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := flags.open()
			if err != nil {
				return err
			}
			doc, err := revoke(a, args, &flags)
			if err != nil {
				return err
			}
			return flags.print(cmd.OutOrStdout(), doc, doc.write)
		},
	}
	flags.add(cmd)
	return cmd
}

// revoke revokes all that is named, or nothing.
func revoke(a *ca.Authority, args []string, flags *caFlags) (revokeJSON, error) {
	issued, ierr := a.Issued()
	doc := revokeJSON{List: ca.RevokedPath(flags.dir)}
	before := a.Revoked()
	var serials []*big.Int
	for _, arg := range args {
		certs, err := find(a, issued, arg)
		if err != nil {
			return doc, errors.Join(err, ierr)
		}
		if len(certs) == 0 {
			return doc, errors.Join(fmt.Errorf("the authority has issued nothing with the name or serial number %q, nor is there a file of that name; "+
				"\"virtnet ca show\" lists what it has issued", arg), ierr)
		}
		for _, c := range certs {
			serial := ca.Serial(c.SerialNumber)
			serials = append(serials, c.SerialNumber)
			_, already := before[serial]
			doc.Revoked = append(doc.Revoked, revokedJSON{Name: certName(c), Serial: serial, Already: already})
		}
	}
	if err := a.Revoke(serials...); err != nil {
		return doc, err
	}
	after := a.Revoked()
	for i := range doc.Revoked {
		doc.Revoked[i].At = after[doc.Revoked[i].Serial]
	}
	return doc, nil
}

// find returns the certificates that an argument means: of a name, with a serial number, or in a file.
func find(a *ca.Authority, issued []*x509.Certificate, arg string) (found []*x509.Certificate, err error) {
	var expired []*x509.Certificate
	for _, c := range issued {
		switch {
		case certName(c) != arg:
		case time.Now().After(c.NotAfter):
			expired = append(expired, c)
		default:
			found = append(found, c)
		}
	}
	if len(found)+len(expired) > 0 {
		if len(found) == 0 {
			return nil, fmt.Errorf("all certificates of %q have expired: nobody accepts them any more", arg)
		}
		return found, nil
	}
	if len(arg) >= 4 {
		for _, c := range issued {
			if strings.HasPrefix(ca.Serial(c.SerialNumber), strings.ToLower(arg)) {
				found = append(found, c)
			}
		}
	}
	switch {
	case len(found) > 1:
		return nil, fmt.Errorf("%d serial numbers begin with %q: give more of it", len(found), arg)
	case len(found) == 1:
		return found, nil
	}
	if info, err := os.Stat(arg); err != nil || !info.Mode().IsRegular() {
		return nil, nil
	}
	return inFile(a, arg)
}

// inFile returns the first certificate in a file, which the authority must have issued.
func inFile(a *ca.Authority, path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	items, err := ca.Inspect(data, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(items) == 0 || items[0].Cert == nil {
		return nil, fmt.Errorf("%s: there is no certificate in it", path)
	}
	if err := items[0].Cert.CheckSignatureFrom(a.Cert()); err != nil {
		return nil, fmt.Errorf("%s: its certificate is issued by %q, not by this authority, %q, which therefore cannot revoke it",
			path, items[0].Cert.Issuer.CommonName, a.Name())
	}
	return []*x509.Certificate{items[0].Cert}, nil
}

// certName is what a certificate is listed under.
func certName(c *x509.Certificate) string {
	if name, err := ca.Name(c); err == nil && !c.IsCA {
		return name
	}
	if c.Subject.CommonName != "" {
		return c.Subject.CommonName
	}
	return c.Subject.String()
}

// The JSON document of ca revoke.
type (
	revokeJSON struct {
		Revoked []revokedJSON `json:"revoked"`
		List    string        `json:"list"`
	}
	revokedJSON struct {
		Name    string    `json:"name"`
		Serial  string    `json:"serial"`
		At      time.Time `json:"at"`
		Already bool      `json:"already"`
	}
)

func (d revokeJSON) write(w io.Writer) {
	for _, r := range d.Revoked {
		if r.Already {
			fmt.Fprintf(w, "%s (serial %s) was revoked on %s already.\n", printable(r.Name), r.Serial, minute(r.At))
		} else {
			fmt.Fprintf(w, "Revoked %s (serial %s).\n", printable(r.Name), r.Serial)
		}
	}
	fmt.Fprintf(w, "Every node needs the new %s.\n", d.List)
}
