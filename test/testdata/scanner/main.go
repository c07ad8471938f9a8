// Command scanner is a scanner of the tests: it looks at the layout that it is given, and answers what a file tells it to. The file holds
// the document to print, or "fail" and why.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(answer, layout string) error {
	index, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		return err
	}
	var is struct{ Manifests []struct{ Digest string } }
	if err := json.Unmarshal(index, &is); err != nil || len(is.Manifests) != 1 {
		return fmt.Errorf("the layout holds %d manifests, %v", len(is.Manifests), err)
	}
	if _, err := os.Stat(filepath.Join(layout, "blobs", "sha256", strings.TrimPrefix(is.Manifests[0].Digest, "sha256:"))); err != nil {
		return err
	}
	content, err := os.ReadFile(answer)
	if err != nil {
		return err
	}
	if why, ok := strings.CutPrefix(string(content), "fail "); ok {
		return fmt.Errorf("%s", why)
	}
	_, err = os.Stdout.Write(content)
	return err
}
