package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/virtnet/virtnet/lonet"
)

// story is the demo from the first step to the last.
func (d *demo) story(ctx context.Context) error {
	for _, chapter := range []func(context.Context) error{
		d.prepare, d.raise, d.transfer, d.kill, d.revive, d.finish, d.mesh, d.part,
	} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the directory, unless there is one, and reads it.
func (d *demo) prepare(ctx context.Context) error {
	d.step("A directory with files")
	if d.Dir == "" {
		tmp, err := os.MkdirTemp("", "virtnet-demo-")
		if err != nil {
			return err
		}
		d.tmp, d.Dir = tmp, tmp
		if err := makeFiles(tmp); err != nil {
			return err
		}
	}
	dir, err := filepath.Abs(d.Dir)
	if err != nil {
		return err
	}
	if d.files, err = readFiles(ctx, dir, func(n int64) { d.account.progress("reading " + size(n)) }); err != nil {
		return err
	}
	if _, ok := middle(d.files); !ok {
		return fmt.Errorf("%s has no file to interrupt in the middle: choose a directory with files in it", dir)
	}
	d.Dir = dir
	d.say("%s, %s, in %s", count(len(d.files)), size(total(d.files)), dir)
	return nil
}

// raise makes the network and starts the processes.
func (d *demo) raise(ctx context.Context) error {
	d.step("A network, and three processes on it")
	network, err := lonet.Join(ctx, "")
	if err != nil {
		return err
	}
	d.network, d.leave = strings.TrimPrefix(network.Network(), "lonet"), network.Close
	info, err := lonet.Config{}.ListNetwork(ctx, d.network)
	if err != nil {
		return err
	}
	d.networkDir = info.Dir
	d.say("the network is %s; its directory is %s", network.Network(), d.networkDir)

	// α stops in the middle of a file, so that the transfer is interrupted there for certain.
	mid, _ := middle(d.files)
	if err := d.up(ctx, d.server, task{Dir: d.Dir, Hold: mid.name}); err != nil {
		return err
	}
	d.say("%s is process %d: serves http://%s:80/", d.server.host, d.server.pid, d.server.host)
	names := make([]string, len(d.files))
	for i, f := range d.files {
		names[i] = f.name
	}
	for _, c := range d.clients {
		if err := d.up(ctx, c, task{From: d.server.host, Files: names}); err != nil {
			return err
		}
		d.say("%s is process %d: fetches all of it", c.host, c.pid)
	}
	return nil
}

// up starts the process of a party, and returns once its host is up.
func (d *demo) up(ctx context.Context, p *party, t task) error {
	t.Host, t.Network = p.host, d.network
	w, err := d.crew.start(t)
	if err != nil {
		return err
	}
	p.pid, p.up, p.dead, p.doomed = w.pid(), event{}, false, false
	return d.until(ctx, p.host+" is up", func() bool { return p.up.PID == p.pid })
}

// transfer waits until both clients are in the middle of the file.
func (d *demo) transfer(ctx context.Context) error {
	d.step("The transfer, up to the middle")
	mid, _ := middle(d.files)
	for _, c := range d.clients {
		err := d.until(ctx, c.host+" is in the middle of "+mid.name, func() bool {
			return c.at.File == mid.name && c.at.Offset == mid.size/2
		})
		if err != nil {
			return err
		}
	}
	for _, c := range d.clients {
		d.check(c.cut == nil && 0 < c.at.Offset && c.at.Offset < mid.size, "%s has %d of %s, and %s of the %s of %s",
			c.host, len(c.files), count(len(d.files)), size(c.at.Offset), size(mid.size), mid.name)
	}
	d.say("%s", d.bars())
	return nil
}

// kill kills α.
func (d *demo) kill(ctx context.Context) error {
	d.step("kill -9 %d: %s dies in the middle of a file", d.server.pid, d.server.host)
	d.server.doomed = true
	if err := d.crew.kill(d.server.host); err != nil {
		return err
	}
	if err := d.until(ctx, d.server.host+" is dead", func() bool { return d.server.dead }); err != nil {
		return err
	}
	for _, c := range d.clients {
		err := d.until(ctx, c.host+" is told that "+d.server.host+" is gone", func() bool { return c.cut != nil && c.lost != nil })
		if err != nil {
			return err
		}
	}
	mid, _ := middle(d.files)
	for _, c := range d.clients {
		d.check(c.cut.File == mid.name && c.cut.Offset == mid.size/2, "%s is cut off at byte %d: %s",
			c.host, c.cut.Offset, c.cut.Error)
	}
	for _, c := range d.clients {
		d.say("%s dials again, and hears after %s:", c.host, brief(c.lost.Took))
		d.say("  %s", c.lost.Error)
		d.check(c.lost.Took < time.Second, "%s is refused at once, errors.Is(err, ErrConnRefused), and told that the process is gone", c.host)
	}
	return nil
}

// revive starts α anew.
func (d *demo) revive(ctx context.Context) error {
	d.step("%s comes back", d.server.host)
	before := d.server.pid
	if err := d.up(ctx, d.server, task{Dir: d.Dir}); err != nil {
		return err
	}
	d.check(d.server.pid != before, "%s has its name again, as process %d, %s after it asked for it",
		d.server.host, d.server.pid, brief(d.server.up.Took))
	return nil
}

// finish waits until the clients have all files, and compares them.
func (d *demo) finish(ctx context.Context) error {
	d.step("The transfer goes on where it was")
	for _, c := range d.clients {
		if err := d.until(ctx, c.host+" has all files", func() bool { return c.done }); err != nil {
			return err
		}
	}
	mid, _ := middle(d.files)
	for _, c := range d.clients {
		resumed := c.files[mid.name].Resumed
		d.check(resumed == mid.size/2, "%s went on with %s at byte %d", c.host, mid.name, resumed)
		wrong := c.differing(d.files)
		d.check(len(wrong) == 0, "%s has %d of %s, %s, with the SHA-256 they have on disk%s",
			c.host, len(d.files)-len(wrong), count(len(d.files)), size(c.at.Got), but(wrong))
	}
	d.say("%s", d.bars())
	return nil
}

// but names the exceptions, if there are any.
func but(wrong []string) string {
	if len(wrong) == 0 {
		return ""
	}
	return "; not " + strings.Join(wrong, ", ")
}

// part ends the processes and removes what the demo made.
func (d *demo) part(context.Context) error {
	d.step("Nothing is left")
	if err := d.clean(); err != nil {
		return err
	}
	_, err := os.Stat(d.networkDir)
	d.check(os.IsNotExist(err), "all processes have ended by themselves, and the network's directory is removed")
	return nil
}

// count counts files in words.
func count(files int) string {
	if files == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", files)
}

// brief writes a duration in a few digits.
func brief(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// size writes a number of bytes in a few digits.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/(1<<10), 0
	for f >= 1<<10 && unit < len(units)-1 {
		f /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", f, units[unit])
}
