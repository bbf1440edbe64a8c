package cli

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/virtnet/virtnet/astranet/ca"
)

func newCAInit() *cobra.Command {
	var flags caFlags
	var name, parent string
	var validity float64
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make an authority",
		Long: `Init makes an authority, in the directory DIR or that of --dir, which is made if it isn't
there. An authority that is there already stays as it is, and is an error.

The authority's name is for people: it is in errors, and tells one mesh from another.

With --parent it is an authority below another one: nodes that trust that one accept what
it issues, so that the other, the root, can be kept in a safer place.`,
		Example: `  virtnet ca init
  virtnet ca init --dir team-a --parent ca --name team-a --days 400`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if cmd.Flags().Changed("dir") {
					return &usageError{fmt.Errorf("the directory is given twice, as %q and with --dir", args[0])}
				}
				flags.dir = args[0]
			}
			d, err := days(validity)
			if err != nil {
				return err
			}
			if name == "" {
				name = "mesh-" + rand.Text()[:4]
			}
			if _, err := os.Lstat(ca.RootsPath(flags.dir)); err == nil { // before there is a record of it at its parent
				return fmt.Errorf("there is an authority in %s, and it stays as it is: name another directory with --dir", flags.dir)
			}
			a, err := makeAuthority(name, parent, ca.Options{Validity: d})
			if err != nil {
				return err
			}
			if err := a.Save(flags.dir); err != nil {
				return err
			}
			return flags.print(cmd.OutOrStdout(), authorityDoc(a, flags.dir), func(w io.Writer) { writeInit(w, a, flags.dir) })
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&name, "name", "", "the authority's `name` (default one that is made up)")
	cmd.Flags().StringVar(&parent, "parent", "", "the `directory` of the authority above it")
	cmd.Flags().Float64Var(&validity, "days", 3650, "how many `days` it is valid")
	return cmd
}

func makeAuthority(name, parent string, o ca.Options) (*ca.Authority, error) {
	if parent == "" {
		return ca.Create(name, o)
	}
	above, err := (&caFlags{dir: parent}).open()
	if err != nil {
		return nil, err
	}
	return above.Sub(name, o)
}

func writeInit(w io.Writer, a *ca.Authority, dir string) {
	fmt.Fprintf(w, "Made the authority %s, valid until %s.\n\n", printable(a.Name()), date(a.Cert().NotAfter))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "  %s\tits private key: for no node\n", filepath.Join(dir, "ca.key"))
	fmt.Fprintf(tw, "  %s\tits certificate: every node needs it\n", ca.RootsPath(dir))
	fmt.Fprintf(tw, "  %s\twhat it has revoked: every node needs it\n", ca.RevokedPath(dir))
	tw.Flush()
	if dir == "ca" {
		fmt.Fprintf(w, "\n\"virtnet ca issue NAME\" makes a node's certificate.\n")
	} else {
		fmt.Fprintf(w, "\n\"virtnet ca issue --dir %s NAME\" makes a node's certificate.\n", printable(dir))
	}
}

// authorityJSON is the JSON document of ca init, and a part of that of ca show.
type authorityJSON struct {
	Name    string    `json:"name"`
	Dir     string    `json:"dir"`
	Serial  string    `json:"serial"`
	Issuer  string    `json:"issuer"`
	Since   time.Time `json:"not_before"`
	Expires time.Time `json:"expires"`
	Roots   string    `json:"roots"`
	Revoked string    `json:"revoked"`
}

func authorityDoc(a *ca.Authority, dir string) authorityJSON {
	c := a.Cert()
	return authorityJSON{Name: a.Name(), Dir: dir, Serial: ca.Serial(c.SerialNumber), Issuer: issuer(c),
		Since: c.NotBefore, Expires: c.NotAfter, Roots: ca.RootsPath(dir), Revoked: ca.RevokedPath(dir)}
}
