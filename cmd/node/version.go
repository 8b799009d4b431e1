package main

import (
	"cmp"
	"runtime/debug"
)

// What was built. scripts/build sets them with -X, so that a binary's bytes depend on nothing but the source and these.
var (
	stamped  string // the version; empty means what the toolchain noted
	revision string // the commit, likewise
)

// version is what was built, for people.
func version() string {
	var noted string
	if info, ok := debug.ReadBuildInfo(); ok {
		noted = info.Main.Version
	}
	return cmp.Or(stamped, noted, "(unknown)")
}

func versionLine() string {
	line := "hubfleet node " + version()
	if info, ok := debug.ReadBuildInfo(); ok {
		line += " " + info.GoVersion
	}
	return line
}
