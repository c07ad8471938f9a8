package source

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// The history is asked for by many at once, in one process and in several that share a cache: each reads all of it, and what one has fetched isn't taken from under
// another.
func TestHistoryIsReadByManyAtOnce(t *testing.T) {
	_, srv, all := history(t, 70)
	dir := t.TempDir()
	sources := []*Source{open(t, srv.url(), Options{CacheDir: dir}), open(t, srv.url(), Options{CacheDir: dir})}
	before := srv.count()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			n := 0
			for r, err := range sources[i%2].Log(t.Context(), time.Time{}) {
				if err != nil {
					t.Error(err)
					return
				}
				if b, err := fs.ReadFile(r.FS, "catalog/x.hcl"); err != nil || string(b) != fmt.Sprint(len(all)-1-n) {
					t.Errorf("%s: %s, %v", r.Commit, b, err)
					return
				}
				n++
			}
			if n != len(all) {
				t.Errorf("%d commits", n)
			}
		})
	}
	wg.Wait()
	for _, s := range sources {
		if len(s.repos) > 3 {
			t.Errorf("it was fetched %d times", len(s.repos))
		}
	}
	if n := srv.count() - before; n > 2*2*4 { // two sources, two steps deeper, at most four requests each
		t.Errorf("%d requests", n)
	}
	if left, _ := filepath.Glob(dir + "/tmp-*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
