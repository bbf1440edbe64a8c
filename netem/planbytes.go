package netem

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// byteUnits are the units of bytes, the largest first.
var byteUnits = []struct {
	name string
	size int64
}{
	{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1},
}

// parseBytes parses a number of bytes: 500, 64KiB, 1.5MB.
func parseBytes(text string) (int64, error) {
	number, size := text, int64(1)
	for _, u := range byteUnits {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, size = n, u.size
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && n >= 0 && n <= math.MaxInt64/size {
		return n * size, nil
	}
	// Up to 1<<53 a float64 is exact.
	if x, err := strconv.ParseFloat(number, 64); err == nil && strings.Contains(number, ".") {
		if x *= float64(size); x >= 0 && x < 1<<53 && x == math.Trunc(x) {
			return int64(x), nil
		}
	}
	return 0, errors.New("want bytes, for example 500, 64KiB, 1.5MB")
}

// parseSpace is parseBytes for what is in memory.
func parseSpace(text string) (int, error) {
	n, err := parseBytes(text)
	if err == nil && n > math.MaxInt {
		return 0, errors.New("it is more than this machine can count")
	}
	return int(n), err
}

// parseRate parses bytes in a second: 1MB/s.
func parseRate(text string) (int64, error) {
	size, ok := strings.CutSuffix(text, "/s")
	n, err := parseBytes(size)
	if !ok || err != nil {
		return 0, errors.New("want bytes in a second, for example 500B/s, 64KiB/s, 1.5MB/s")
	}
	return n, nil
}

// printBytes returns n in the unit that leaves the smallest number, if not the byte: then without one.
func printBytes(n int64) string {
	number, unit := n, ""
	for _, u := range byteUnits {
		if n%u.size == 0 && n/u.size < number {
			number, unit = n/u.size, u.name
		}
	}
	return strconv.FormatInt(number, 10) + unit
}

func printRate(n int64) string {
	s := printBytes(n)
	if !strings.HasSuffix(s, "B") {
		s += "B"
	}
	return s + "/s"
}
