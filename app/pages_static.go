package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

//go:embed static
var staticTree embed.FS

// staticFile is one embedded file with its hash.
type staticFile struct {
	body []byte
	etag string
	mime string
}

// staticFiles are all files under static/ by their path below it.
var staticFiles = loadStatic(staticTree)

// moduleGraphs are all modules that a module imports, by itself or through others, nearest first.
var moduleGraphs = loadGraphs(staticFiles)

var staticImport = regexp.MustCompile(`(?m)^(?:import|export)\s[^'";]*?from '\./([^']+)'`)

func loadGraphs(files map[string]staticFile) map[string][]string {
	imports := map[string][]string{}
	for name, file := range files {
		if path.Ext(name) != ".js" {
			continue
		}
		for _, found := range staticImport.FindAllSubmatch(file.body, -1) {
			imports[name] = append(imports[name], string(found[1]))
		}
	}
	graphs := map[string][]string{}
	for name := range imports {
		graph := []string{name}
		for at := 0; at < len(graph); at++ { // grows while it is walked, by each module once
			for _, imported := range imports[graph[at]] {
				if !slices.Contains(graph, imported) {
					graph = append(graph, imported)
				}
			}
		}
		graphs[name] = graph[1:]
	}
	return graphs
}

// The types are named here because the machine's own table may lack or differ on them.
var staticTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

func loadStatic(tree fs.FS) map[string]staticFile {
	files := map[string]staticFile{}
	err := fs.WalkDir(tree, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		files[strings.TrimPrefix(name, "static/")] = staticFile{
			body: body,
			etag: `"` + hex.EncodeToString(sum[:12]) + `"`,
			mime: staticTypes[path.Ext(name)],
		}
		return nil
	})
	if err != nil {
		panic(err) // the tree is inside the program: this cannot happen to one that was built
	}
	return files
}

// serve answers with the file. Its name carries no hash, so browsers ask each time and mostly hear 304.
func (f staticFile) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", f.mime)
	w.Header().Set("ETag", f.etag)
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
}
