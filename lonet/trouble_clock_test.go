package lonet_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/virtnet/virtnet"
)

// What comes from a clock in a network's files is the ids of rows, and the times of the files. Whatever they are, names
// belong to who lives: those of the dead are free, those of the living are not.
func TestClocksOfOthers(t *testing.T) {
	p := newPlace(t)
	β := p.host("β")
	dead := p.member("dead")
	nobody := p.osladdr("dead")
	dead.kill()
	id := func(year int) int64 { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() << 20 }
	for _, at := range []struct {
		what  string
		rowid int64
		files time.Time
	}{
		{"now", time.Now().UnixMilli() << 20, time.Now()},
		{"long ago", id(1971), time.Unix(0, 0)},
		{"before there were computers", id(1900), time.Unix(-1, 0)},
		{"tomorrow", time.Now().Add(24*time.Hour).UnixMilli() << 20, time.Now().Add(24 * time.Hour)},
		{"far away", id(2200), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"too far away", id(2300), time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"zero", 0, time.Now()},
		{"the last", 1<<63 - 1, time.Now()},
		{"the first", -1 << 63, time.Now()},
	} {
		sub := p.join()
		α := must[*virtnet.Host](t)(sub.NewHost(p.ctx, "α"))
		p.answer(α, "α")
		p.sql("t", fmt.Sprintf("UPDATE hosts SET rowid = %d WHERE hostname = 'α'", at.rowid))
		p.sql("t", fmt.Sprintf("INSERT INTO hosts (rowid, hostname, osladdr) VALUES (%d, 'γ', '%s')", at.rowid^1, nobody))
		files := must[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(p.path("t"))))
		for _, file := range files {
			if err := os.Chtimes(filepath.Join(filepath.Dir(p.path("t")), file.Name()), at.files, at.files); err != nil {
				t.Errorf("%s: %v", at.what, err)
			}
		}
		p.wantAnswer(β, "α:1", "α")
		other := p.join()
		if _, err := other.NewHost(p.ctx, "α"); !errors.Is(err, virtnet.ErrHostDup) {
			t.Errorf("%s: the name of one who lives: error %v, want %v", at.what, err, virtnet.ErrHostDup)
		}
		γ, err := other.NewHost(p.ctx, "γ")
		if err != nil {
			t.Errorf("%s: the name of one who is dead: %v", at.what, err)
			continue
		}
		p.answer(γ, "γ")
		p.wantAnswer(β, "γ:1", "γ")
		if err := errors.Join(sub.Close(), other.Close()); err != nil {
			t.Errorf("%s: %v", at.what, err)
		}
		if got := p.sql("t", "SELECT group_concat(hostname) FROM hosts WHERE hostname IN ('α', 'γ')"); got != "" {
			t.Errorf("%s: %s stay in the registry", at.what, got)
		}
	}
}
