package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// world is a registry system in memory that keeps the rules of real ones: an index needs its children, deleting a manifest drops
// its tags. It lets the core be run by the thousand; the adapters have tests of their own against real registries.
type world struct {
	mu      sync.Mutex
	held    map[Image]bool
	tags    map[Repo]map[Tag]Digest
	records map[Image][]Record
	trees   map[Digest]Tree
	scans   map[Digest]Scan
	history History
	tip     string
	broken  map[Question]error // questions that fail
	asked   []Question
	writes  []string
	onWrite func(n int) error // called before the nth write; an error stops it
	untag   error
	layouts int                    // staged and not yet released
	beside  map[Image][]Attachment // of others
}

func newWorld() *world {
	return &world{held: map[Image]bool{}, tags: map[Repo]map[Tag]Digest{}, records: map[Image][]Record{}, trees: map[Digest]Tree{},
		scans: map[Digest]Scan{}, broken: map[Question]error{}, beside: map[Image][]Attachment{}, tip: "c1"}
}

func (w *world) sensors() Sensors {
	return Sensors{Holdings: w, Content: w, Records: w, Stage: w, History: w, Beside: w, Scanners: map[string]Scanner{"builtin": w, "second": w}}
}

func (w *world) effects() Effects {
	return Effects{Catalog: w, Copier: w, Tagger: w, Deleter: w, Placer: w, Carrier: w, Signers: map[string]Signer{"main": w}}
}

func (w *world) note(q Question) error {
	w.asked = append(w.asked, q)
	return w.broken[q]
}

func (w *world) Repos(_ context.Context, p Prefix) ([]Repo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.note(Question{Kind: AskRepos, Prefix: p}); err != nil {
		return nil, err
	}
	var out []Repo
	for r := range w.tags {
		if p.Owns(r) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (w *world) Tags(_ context.Context, r Repo) (map[Tag]Digest, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.note(Question{Kind: AskTags, Repo: r}); err != nil {
		return nil, err
	}
	tags := map[Tag]Digest{}
	maps.Copy(tags, w.tags[r])
	for i, recs := range w.records {
		if i.Repo == r && len(recs) > 0 {
			tags[Tag{"sha256-" + i.Digest.Hex() + ".sig"}] = Digest{}
		}
	}
	return tags, nil
}

func (w *world) Has(_ context.Context, i Image) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.note(Question{Kind: AskHas, Repo: i.Repo, Digest: i.Digest}); err != nil {
		return false, err
	}
	return w.held[i], nil
}

func (w *world) Tree(_ context.Context, i Image) (Tree, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.note(Question{Kind: AskTree, Repo: i.Repo, Digest: i.Digest}); err != nil {
		return Tree{}, err
	}
	t, ok := w.trees[i.Digest]
	if !ok || !w.held[i] {
		return Tree{}, fmt.Errorf("%s: %w", i, ErrNotFound)
	}
	return t, nil
}

func (w *world) Records(_ context.Context, i Image) ([]Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.note(Question{Kind: AskRecords, Repo: i.Repo, Digest: i.Digest}); err != nil {
		return nil, err
	}
	return slices.Clone(w.records[i]), nil
}

func (w *world) Attached(_ context.Context, i Image) ([]Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.records[i]), nil
}

func (w *world) Attachments(_ context.Context, i Image) ([]Attachment, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.note(Question{Kind: AskBeside, Repo: i.Repo, Digest: i.Digest}); err != nil {
		return nil, err
	}
	out := slices.Clone(w.beside[i])
	for _, r := range w.records[i] {
		x := Attachment{At: r.At}
		if r.Statement.Format == Legacy {
			x.Tag, x.Layer = tag("sha256-"+i.Digest.Hex()+".sig"), sum(string(r.Payload))
		}
		out = append(out, x)
	}
	return out, nil
}

func (w *world) Carry(_ context.Context, from Image, to Repo, what []Attachment) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := Image{to, from.Digest}
	if !w.held[i] {
		return fmt.Errorf("%s: %w", i, ErrNotFound)
	}
	if err := w.write("carry %s", i); err != nil {
		return err
	}
	for _, x := range what {
		if !slices.Contains(w.beside[from], x) {
			return fmt.Errorf("%v beside %s: %w", x, from, ErrNotFound)
		}
		if !slices.Contains(w.beside[i], x) {
			w.beside[i] = append(w.beside[i], x)
		}
	}
	return nil
}

func (w *world) Release(Layout) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.layouts--
	return nil
}

func (w *world) Stage(_ context.Context, from Image, m Digest) (Layout, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.held[from] {
		return Layout{}, ErrNotFound
	}
	w.layouts++
	return Layout{Manifest: m}, nil
}

func (w *world) Scan(_ context.Context, l Layout, i Image) (Scan, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(Question{Kind: AskScan, Repo: i.Repo, Digest: i.Digest})
	return w.scans[l.Manifest], nil
}

func (w *world) History(_ context.Context, since time.Time) (History, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.note(Question{Kind: AskHistory}); err != nil {
		return History{}, err
	}
	h := w.history
	if h.Since.IsZero() {
		h.Since = since
	}
	return h, nil
}

func (w *world) Tip(context.Context) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tip, nil
}

// write counts and names a write, under the lock.
func (w *world) write(format string, args ...any) error {
	if w.onWrite != nil {
		if err := w.onWrite(len(w.writes)); err != nil {
			return err
		}
	}
	w.writes = append(w.writes, fmt.Sprintf(format, args...))
	return nil
}

func (w *world) Copy(_ context.Context, from Image, to Repo) (Moved, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.trees[from.Digest]
	if !ok || !w.held[from] {
		return Moved{}, fmt.Errorf("%s: %w", from, ErrNotFound)
	}
	for _, m := range t.Manifests {
		if err := w.write("copy %s", Image{to, m.Digest}); err != nil {
			return Moved{}, err
		}
		w.held[Image{to, m.Digest}] = true
	}
	if w.tags[to] == nil {
		w.tags[to] = map[Tag]Digest{}
	}
	return Moved{Bytes: t.Bytes()}, nil
}

func (w *world) Current(_ context.Context, r Repo, t Tag) (Digest, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tags[r][t], nil
}

func (w *world) Tag(_ context.Context, i Image, t Tag) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.held[i] {
		return fmt.Errorf("%s: %w", i, ErrNotFound)
	}
	if err := w.write("tag %s %s", i, t); err != nil {
		return err
	}
	w.tags[i.Repo][t] = i.Digest
	return nil
}

func (w *world) Untag(_ context.Context, r Repo, t Tag) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.untag != nil {
		return w.untag
	}
	if err := w.write("untag %s %s", r, t); err != nil {
		return err
	}
	delete(w.tags[r], t)
	return nil
}

func (w *world) Delete(_ context.Context, i Image, subject Digest) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.write("delete %s", i); err != nil {
		return err
	}
	if !subject.IsZero() {
		s := Image{i.Repo, subject}
		w.records[s] = slices.DeleteFunc(w.records[s], func(r Record) bool { return r.At == i.Digest })
		w.beside[s] = slices.DeleteFunc(w.beside[s], func(x Attachment) bool { return x.At == i.Digest })
		return nil
	}
	delete(w.held, i)
	maps.DeleteFunc(w.tags[i.Repo], func(_ Tag, d Digest) bool { return d == i.Digest })
	return nil
}

func (w *world) Sign(_ context.Context, s Statement) (Record, error) {
	return Record{Statement: s, Payload: fmt.Appendf(nil, "%+v", s)}, nil
}

func (w *world) Place(_ context.Context, r Record, to Repo) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := Image{to, r.Statement.Subject}
	if !w.held[i] {
		return fmt.Errorf("%s: %w", i, ErrNotFound)
	}
	if err := w.write("place %s", i); err != nil {
		return err
	}
	r.At = sum(r.ID())
	w.records[i] = append(w.records[i], r)
	w.tagSignatures(i)
	return nil
}

// tagSignatures puts all signatures in cosign's first format into one manifest.
func (w *world) tagSignatures(i Image) {
	all := ""
	for _, r := range w.records[i] {
		if r.Statement.Format == Legacy {
			all += r.ID()
		}
	}
	for n, r := range w.records[i] {
		if r.Statement.Format == Legacy {
			w.records[i][n].At = sum(all)
		}
	}
}

func (w *world) Withdraw(_ context.Context, i Image, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.write("withdraw %s", i); err != nil {
		return err
	}
	w.records[i] = slices.DeleteFunc(w.records[i], func(r Record) bool { return r.Statement.Format == Legacy && r.ID() == id })
	if !slices.ContainsFunc(w.records[i], func(r Record) bool { return r.Statement.Format == Legacy }) {
		return errors.New("it is the only one")
	}
	w.tagSignatures(i)
	return nil
}

func sum(s string) Digest {
	h := sha256.Sum256([]byte(s))
	return MustDigest("sha256:" + hex.EncodeToString(h[:]))
}

func repo(s string) Repo {
	r, err := ParseRepo(s)
	if err != nil {
		panic(err)
	}
	return r
}

func tag(s string) Tag {
	t, err := ParseTag(s)
	if err != nil {
		panic(err)
	}
	return t
}

func prefix(s string) Prefix {
	p, err := ParsePrefix(s)
	if err != nil {
		panic(err)
	}
	return p
}

// index puts an image of two platforms at a source and returns it.
func (w *world) index(source, name string) Image {
	root := sum(name)
	var t Tree
	t.Root = root
	layer := Blob{Digest: sum("base layer"), Size: 1000}
	var children []Digest
	for _, arch := range []string{"amd64", "arm64"} {
		m := Manifest{Digest: sum(name + arch), MediaType: "application/vnd.oci.image.manifest.v1+json", Platform: Platform{OS: "linux", Architecture: arch},
			Blobs: []Blob{{Digest: sum(name + arch + "config"), Size: 10}, layer, {Digest: sum(name + arch + "layer"), Size: 100}}}
		t.Manifests = append(t.Manifests, m)
		children = append(children, m.Digest)
		w.scans[m.Digest] = Scan{Packages: 3, Version: "1", Ecosystems: []string{"npm"}}
	}
	t.Manifests = append(t.Manifests, Manifest{Digest: root, MediaType: ociIndex, Children: children})
	w.trees[root] = t
	i := Image{repo(source), root}
	w.held[i] = true
	for _, c := range children {
		w.trees[c] = Tree{Root: c, Manifests: []Manifest{t.Manifests[slices.Index(children, c)]}}
		w.held[Image{i.Repo, c}] = true
	}
	return i
}
