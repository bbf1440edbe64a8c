// Package hostname holds the rule for names of hosts and of networks that are path elements.
package hostname

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxQuoted is how long a name may be as Go's %q prints it: two addresses and a network name of this length,
// with the rest of a handshake line, fit where protocols carry them.
const maxQuoted = 255

// Check tells whether name is a valid name, and if not, which rule it breaks.
func Check(name string) error {
	switch {
	case name == "":
		return errors.New("invalid name: it is empty")
	case name == "." || name == "..":
		return fmt.Errorf("invalid name %q: it is a directory reference", name)
	case !utf8.ValidString(name):
		return fmt.Errorf("invalid name %s: it is not valid UTF-8", shorten(strconv.Quote(name)))
	}
	if q := strconv.Quote(name); len(q) > maxQuoted {
		return fmt.Errorf("invalid name %s: it is %d bytes when quoted, at most %d are allowed", shorten(q), len(q), maxQuoted)
	}
	if i := strings.IndexAny(name, `/\:[]%`); i >= 0 {
		return fmt.Errorf("invalid name %q: it contains %q (none of / \\ : [ ] %% is allowed)", name, name[i])
	}
	if i := strings.IndexFunc(name, unicode.IsControl); i >= 0 {
		return fmt.Errorf("invalid name %q: it contains a control character", name)
	}
	return nil
}

// shorten keeps an error readable whatever the name's length.
func shorten(quoted string) string {
	const most = 64
	if len(quoted) <= most {
		return quoted
	}
	return strings.ToValidUTF8(quoted[:most], "") + "…" // the cut may go through a character
}
