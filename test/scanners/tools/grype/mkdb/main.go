// Command mkdb makes a small database for grype of what its providers would have found: mkdb WORKSPACES FOLDER.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/anchore/grype/grype/db"
	"github.com/anchore/grype/grype/db/provider"
	v6 "github.com/anchore/grype/grype/db/v6"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: mkdb WORKSPACES FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(workspaces, folder string) error {
	entries, err := os.ReadDir(workspaces)
	if err != nil {
		return err
	}
	var states provider.States
	for _, e := range entries {
		s, err := provider.ReadState(filepath.Join(workspaces, e.Name(), "metadata.json"))
		if err != nil {
			return fmt.Errorf("provider %s: %w", e.Name(), err)
		}
		states = append(states, *s)
	}
	dir := filepath.Join(folder, strconv.Itoa(v6.ModelVersion))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return db.Build(db.BuildConfig{SchemaVersion: v6.ModelVersion, Directory: dir, States: states, Timestamp: time.Now(), IncludeCPEParts: []string{"a"}, Hydrate: true})
}
