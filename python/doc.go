// Package python has no Go code: its tests run those of the Python package lonet, which is in this directory.
package python
