package registry

import "context"

// Alive tells whether the process at osladdr is alive and has the host; it is what Announce goes by when a
// name is taken. It asks the process, for a second at most, and ends with ctx.
func (r *Registry) Alive(ctx context.Context, hostname, osladdr string) (bool, error) {
	v, err := r.judge.row(ctx, hostname, osladdr)
	return v == verdictAlive, err
}
