package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version tells what this program was built from: the module's version, the
// commit, where the build knows it, and the Go release.
func version() string {
	module, commit := "(devel)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		module, commit = info.Main.Version, commitOf(info.Settings)
	}
	if module == "" {
		module = "(devel)"
	}
	return fmt.Sprintf("tallystick %s%s, %s %s/%s", module, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// commitOf is the commit that the build notes, "" for none.
func commitOf(settings []debug.BuildSetting) string {
	var revision, at, modified string
	for _, s := range settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.time":
			at = " of " + s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = " with changes"
			}
		}
	}
	if revision == "" {
		return ""
	}
	return ", commit " + revision + at + modified
}
