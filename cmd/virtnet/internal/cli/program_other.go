//go:build !unix

package cli

import "os"

// passedOn are the signals that a program under run gets when run gets them. A key of the console is for both.
var passedOn = []os.Signal{os.Interrupt}

// hasAlready tells whether the program has got the signal as well. No other can be sent to it.
func hasAlready(os.Signal) bool { return true }
