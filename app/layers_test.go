package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// listedPackage is a package of ours as `go list` tells of it.
type listedPackage struct {
	ImportPath                 string
	Deps, Imports, TestImports []string
	XTestImports               []string
}

func listPackages(t *testing.T) []listedPackage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	list := exec.CommandContext(ctx, "go", "list", "-pgo=off", "-json=ImportPath,Deps,Imports,TestImports,XTestImports", "frenchpress/...")
	list.Stderr = t.Output()
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []listedPackage
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// within tells whether a package is this one or lies below it.
func within(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

// TestLayers holds the three rooms apart, tests included: app imports jobs, jobs imports db, nobody the other
// way; Echo stays in app, River out of db.
func TestLayers(t *testing.T) {
	t.Parallel()
	const echo, river, riverUI = "github.com/labstack/echo", "github.com/riverqueue/river", "riverqueue.com"
	forbidden := map[string][]string{
		"frenchpress/db":   {"frenchpress/jobs", "frenchpress/app", echo, river, riverUI},
		"frenchpress/jobs": {"frenchpress/app", echo},
		"frenchpress/app":  {},
	}
	seen := map[string]bool{}
	for _, p := range listPackages(t) {
		room := ""
		for name := range forbidden {
			if within(p.ImportPath, name) {
				room, seen[name] = name, true
			}
		}
		if room == "" {
			t.Errorf("%s lies in none of the rooms app, jobs and db", p.ImportPath)
			continue
		}
		for _, word := range []string{"model", "service", "repository", "util", "utils", "pkg", "internal", "common"} {
			if slices.Contains(strings.Split(p.ImportPath, "/"), word) {
				t.Errorf("%s: a room is called after what is in it, not %s", p.ImportPath, word)
			}
		}
		imports := slices.Concat(p.Deps, p.Imports, p.TestImports, p.XTestImports)
		slices.Sort(imports)
		for _, path := range slices.Compact(imports) {
			if within(path, "frenchpress/bench") {
				t.Errorf("%s depends on %s, which is a module of its own", p.ImportPath, path)
			}
			for _, not := range forbidden[room] {
				if within(path, not) {
					t.Errorf("%s depends on %s", p.ImportPath, path)
				}
			}
		}
	}
	if len(seen) != len(forbidden) {
		t.Errorf("found only %v", seen)
	}
}

// TestTimeZonesComeAlong wants the program to know every store's time zone on a machine that has none.
func TestTimeZonesComeAlong(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		if p.ImportPath == "frenchpress/app" && !slices.Contains(p.Deps, "time/tzdata") {
			t.Error("time/tzdata is not compiled in")
		}
	}
}
