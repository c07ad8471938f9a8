package catalog

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// Bounds of the OpenVEX documents of a catalog: their number, and the bytes of one and of all.
const (
	maxDocuments     = 1000
	maxDocument      = 1 << 20
	maxDocumentBytes = 16 << 20
)

// vexRule is the rule that OpenVEX documents speak about.
const vexRule = "vulnerabilities"

// readVEX reads the documents that the catalog names. One that can't be read, or isn't sound, is a mistake, and excuses nothing.
func (t *tree) readVEX(read ReadVEX) {
	if read == nil {
		return
	}
	total := 0
	for i, x := range t.vex {
		if x.bad() {
			continue
		}
		var err error
		switch {
		case i >= maxDocuments:
			err = fmt.Errorf("a catalog has at most %d OpenVEX documents", maxDocuments)
		case total > maxDocumentBytes:
			err = fmt.Errorf("the OpenVEX documents of the catalog have more than %d bytes together", maxDocumentBytes)
		default:
			err = x.read(t.fsys, read)
			total += len(x.content)
		}
		if err != nil {
			x.broken = mistake(x.attr("file"), "Invalid OpenVEX document", "%q excuses nothing: %v.", clip(string(x.File)), err)
			t.diags = append(t.diags, x.broken)
			x.waivers = nil
		}
	}
}

// read reads the block's document.
func (x *vexBlock) read(fsys fs.FS, read ReadVEX) error {
	b, err := readPlain(fsys, path.Join(x.folder, string(x.File)), maxDocument)
	if err != nil {
		return err
	}
	x.content = string(b)
	author, waivers, err := read(b)
	if err != nil {
		return err
	}
	if x.Author != "" && author != x.Author {
		return fmt.Errorf("its author is %q, not %q", clip(author), x.Author)
	}
	x.waivers = waivers
	return nil
}

// vexWaivers takes over what base's documents excuse, each as a waiver of its own. Where one of them is broken nothing is removed: an image
// may be refused only because it isn't excused.
func (l *loader) vexWaivers() {
	for _, x := range l.base.vex {
		if x.broken != nil {
			l.desired.Broken = append(l.desired.Broken, brokenBecause(x.broken))
		}
		if x.bad() || x.broken != nil {
			continue
		}
		if !l.opts.Now.IsZero() && !l.opts.Now.Before(x.Expires.endOf()) {
			l.base.diags = append(l.base.diags, warning(x.attr("expires"), "Expired OpenVEX document", "It expired on %s and has no effect. Remove it, or have it reviewed again.", time.Time(x.Expires).Format(time.DateOnly)))
		}
		for _, w := range x.waivers {
			if x.Image != "" && w.Image != "" && w.Image != x.Image {
				continue
			}
			l.desired.Waivers = append(l.desired.Waivers, reconcile.Waiver{ID: w.ID, Rule: vexRule, Image: firstOf(x.Image, w.Image), Digest: w.Digest, Package: w.Package,
				Justification: w.Justification, Reason: strings.TrimSpace(w.Reason), Expires: x.Expires.endOf(), Scope: l.base.scopeOf(x.folder), Origin: origin(x.def())})
		}
	}
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
