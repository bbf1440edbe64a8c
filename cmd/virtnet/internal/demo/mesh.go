package demo

import (
	"context"
	"strings"

	"github.com/virtnet/virtnet/astranet"
	"github.com/virtnet/virtnet/astranet/ca"
)

// mesh has the same files fetched between two nodes, which could be on two machines.
func (d *demo) mesh(ctx context.Context) error {
	d.step("From machine to machine: two nodes of a mesh")
	authority, err := ca.Create("demo", ca.Options{})
	if err != nil {
		return err
	}
	north, south := &party{host: "north"}, &party{host: "south"}
	d.others = append(d.others, north, south)
	if err := d.node(ctx, authority, north, task{Dir: d.Dir}); err != nil {
		return err
	}
	d.say("north is process %d: takes links at %s, and serves http://%s/", north.pid, north.up.Address, service)
	names := make([]string, len(d.files))
	for i, f := range d.files {
		names[i] = f.name
	}
	if err := d.node(ctx, authority, south, task{From: service, Files: names, Mesh: &meshTask{Join: north.up.Address}}); err != nil {
		return err
	}
	d.say("south is process %d: linked with north by TLS, %s after its start; each has proved its name", south.pid, brief(south.up.Took))
	if err := d.until(ctx, "south has all files", func() bool { return south.done }); err != nil {
		return err
	}
	wrong := south.differing(d.files)
	d.check(len(wrong) == 0, "south has %d of %s, %s, with the SHA-256 they have on disk%s",
		len(d.files)-len(wrong), count(len(d.files)), size(south.at.Got), but(wrong))
	return d.stranger(ctx, north.up.Address)
}

// node starts a process that is a node, with a certificate of the authority.
func (d *demo) node(ctx context.Context, authority *ca.Authority, p *party, t task) error {
	if t.Mesh == nil {
		t.Mesh = new(meshTask)
	}
	certificate, err := authority.Issue(p.host, ca.IssueOptions{})
	if err != nil {
		return err
	}
	t.Mesh.Credentials = authority.Material(certificate)
	return d.up(ctx, p, t)
}

// stranger tries to get into the mesh with a certificate of its own making.
func (d *demo) stranger(ctx context.Context, address string) error {
	other, err := ca.Create("demo", ca.Options{})
	if err != nil {
		return err
	}
	certificate, err := other.Issue("south", ca.IssueOptions{})
	if err != nil {
		return err
	}
	credentials, err := ca.New(other.Material(certificate))
	if err != nil {
		return err
	}
	node := astranet.Config{Credentials: credentials}.New()
	defer node.Close()
	err = node.JoinContext(ctx, "tcp", address)
	d.check(err != nil, "a stranger that calls itself south, with a certificate of its own making, is not let in:")
	if err != nil {
		d.say("  %s", strings.TrimSpace(err.Error()))
	}
	return nil
}
