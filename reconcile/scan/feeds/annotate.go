package feeds

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// Annotate makes a scanner add what the feeds in a folder say: the EPSS score of each vulnerability, whether it is known to be exploited, and until
// when the distribution is maintained, if the scanner didn't say. Where no feed was imported it adds nothing, but for the support of
// distributions that Assay knows itself. It can judge inventories again if the scanner can. A feed that can't be read is an error:
// without it, a rule that asks for it would be satisfied by mistake.
func Annotate(s reconcile.Scanner, dir string) reconcile.Scanner {
	a := &annotator{dir: dir, kept: map[Kind]kept{}}
	if r, ok := s.(reconcile.Rescanner); ok {
		return &rescanner{scanner{r, a}, r}
	}
	return &scanner{s, a}
}

type scanner struct {
	inner reconcile.Scanner
	a     *annotator
}

// Scan implements reconcile.Scanner.
func (s *scanner) Scan(ctx context.Context, l reconcile.Layout, i reconcile.Image) (reconcile.Scan, error) {
	out, err := s.inner.Scan(ctx, l, i)
	if err != nil {
		return out, err
	}
	return s.a.annotate(out)
}

type rescanner struct {
	scanner
	inner reconcile.Rescanner
}

// Rescan implements reconcile.Rescanner.
func (s *rescanner) Rescan(ctx context.Context, inv reconcile.Inventory, i reconcile.Image) (reconcile.Scan, error) {
	out, err := s.inner.Rescan(ctx, inv, i)
	if err != nil {
		return out, err
	}
	return s.a.annotate(out)
}

// An annotator keeps the feeds in memory until their files change. It may be used concurrently.
type annotator struct {
	dir  string
	mu   sync.Mutex
	kept map[Kind]kept
}

type kept struct {
	modified time.Time
	size     int64
	feed     stored
}

func (a *annotator) feed(k Kind) (stored, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	info, err := os.Stat(path(a.dir, k))
	if errors.Is(err, fs.ErrNotExist) {
		return stored{}, nil
	}
	if err != nil {
		return stored{}, err
	}
	if old, ok := a.kept[k]; ok && old.modified.Equal(info.ModTime()) && old.size == info.Size() {
		return old.feed, nil
	}
	s, err := load(a.dir, k)
	if err == nil {
		a.kept[k] = kept{info.ModTime(), info.Size(), s}
	}
	return s, err
}

func (a *annotator) annotate(scan reconcile.Scan) (reconcile.Scan, error) {
	epss, err := a.feed(EPSS)
	if err != nil {
		return reconcile.Scan{}, err
	}
	kev, err := a.feed(KEV)
	if err != nil {
		return reconcile.Scan{}, err
	}
	scan.Vulnerabilities = slices.Clone(scan.Vulnerabilities)
	for i := range scan.Vulnerabilities {
		v := &scan.Vulnerabilities[i]
		for _, id := range append([]string{v.ID}, v.Aliases...) {
			if strings.HasPrefix(id, "CVE-") {
				v.EPSS = max(v.EPSS, epss.Scores[id])
				v.Exploited = v.Exploited || kev.CVEs[id]
			}
		}
	}
	if scan.Support != nil || scan.Distribution == "" {
		return scan, nil
	}
	support, err := a.feed(Support)
	if err != nil {
		return reconcile.Scan{}, err
	}
	if r, ok := supportOf(support.Releases, scan.Distribution); ok {
		scan.Support = r.support(support.Feed.Data)
	} else if r, ok := supportOf(fallback(), scan.Distribution); ok {
		scan.Support = r.support(builtinData)
	}
	return scan, nil
}
