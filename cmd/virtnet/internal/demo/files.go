package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// A file is what the parent knows of a file from reading it in its directory.
type file struct {
	name   string // with slashes, relative to the directory
	size   int64
	sha256 string
}

// makeFiles fills dir with files of many sizes, some 60 MiB in all. What is in them is random, and the same
// every time.
func makeFiles(dir string) error {
	seed := [32]byte([]byte("the content of the demo's files."))
	content := rand.NewChaCha8(seed)
	rnd := rand.New(content)
	for _, class := range []struct {
		name        string
		least, most int64
	}{
		{"large", 4 << 20, 9 << 20},
		{"medium", 256 << 10, 2 << 20},
		{"small", 1, 64 << 10},
	} {
		if err := os.Mkdir(filepath.Join(dir, class.name), 0o755); err != nil {
			return err
		}
		for i := range 8 {
			size := class.least + rnd.Int64N(class.most-class.least)
			name := filepath.Join(dir, class.name, fmt.Sprintf("file %d.bin", i+1))
			if err := makeFile(name, io.LimitReader(content, size)); err != nil {
				return err
			}
		}
	}
	return nil
}

func makeFile(name string, content io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// readFiles reads the regular files below dir, in the order of their names, until ctx is done. It calls progress
// with how many bytes it has read.
func readFiles(ctx context.Context, dir string, progress func(int64)) ([]file, error) {
	var all []file
	var read int64
	report := func(n int) error {
		read += int64(n)
		progress(read)
		return context.Cause(ctx)
	}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f := file{name: filepath.ToSlash(rel)}
		if f.size, f.sha256, err = digest(path, report); err != nil {
			return err
		}
		all = append(all, f)
		return nil
	})
	return all, err
}

// digest returns the size and the SHA-256 of a file. It reports every piece that it has read, and ends with
// the error that it gets for it.
func digest(path string, report func(n int) error) (int64, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(sum, reporter(report)), f)
	return n, hex.EncodeToString(sum.Sum(nil)), err
}

// reporter is an io.Writer that is called with how much is written.
type reporter func(n int) error

func (r reporter) Write(b []byte) (int, error) {
	if err := r(len(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// total returns how many bytes the files have.
func total(files []file) (n int64) {
	for _, f := range files {
		n += f.size
	}
	return n
}

// middle returns the file to be interrupted in, which has at least two bytes: the first that ends in the second
// half of all bytes, or else the last there is.
func middle(files []file) (mid file, ok bool) {
	half := total(files) / 2
	var end int64
	for _, f := range files {
		end += f.size
		if f.size >= 2 {
			mid, ok = f, true
			if end > half {
				break
			}
		}
	}
	return mid, ok
}
