package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// What a registry turned out to be unable to do is found only by trying. It is remembered in the cache folder for a while, so that the next
// plan says it beforehand.

const rememberFor = 30 * 24 * time.Hour

type inability struct {
	Why   string    `json:"why"`
	Found time.Time `json:"found"`
}

func unableFile(cache string) string { return filepath.Join(cache, "unable.json") }

// unable reads what is remembered, by host. A file that is missing or damaged remembers nothing.
func unable(cache string, now time.Time) map[string]string {
	out := map[string]string{}
	for host, x := range readUnable(cache) {
		if now.Sub(x.Found) < rememberFor {
			out[host] = x.Why
		}
	}
	return out
}

func readUnable(cache string) map[string]inability {
	all := map[string]inability{}
	b, err := os.ReadFile(unableFile(cache))
	if err != nil || json.Unmarshal(b, &all) != nil {
		return map[string]inability{}
	}
	return all
}

// rememberUnable adds what a run found out.
func rememberUnable(cache string, r reconcile.Report, now time.Time) error {
	if r.Result == nil || len(r.Result.Blocked) == 0 {
		return nil
	}
	all := readUnable(cache)
	for i, a := range r.Plan.Actions {
		if o := r.Result.Outcomes[i]; a.Kind == reconcile.Untag && o.Status == reconcile.Skipped && r.Result.Unable(a) {
			all[a.To.Host()] = inability{Why: o.Reason, Found: now.UTC()}
		}
	}
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	err = os.WriteFile(unableFile(cache), b, 0o600)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}
