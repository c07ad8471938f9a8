package exposure

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Use is one place where an image runs.
type Use struct {
	Where  string `json:"where"`            // "namespace/pod/container", or the line of a list
	Ref    string `json:"ref"`              // the image as it was asked for
	Digest string `json:"digest,omitempty"` // what runs, where that is known
}

// maxPods bounds what is read of a list of pods or images, in bytes.
const maxPods = 1 << 30

// pod is what matters of a Kubernetes Pod (core/v1).
type pod struct {
	Metadata struct{ Namespace, Name string }
	Spec     struct{ InitContainers, Containers, EphemeralContainers []container }
	Status   struct{ InitContainerStatuses, ContainerStatuses, EphemeralContainerStatuses []container }
}

type container struct{ Name, Image, ImageID string }

// ReadPods reads the JSON that `kubectl get pods -A -o json` prints: a list of pods, or one of them. It reads pod by pod, so that the pods of a large
// cluster need little memory.
func ReadPods(r io.Reader) ([]Use, error) {
	limited := &io.LimitedReader{R: r, N: maxPods}
	dec := json.NewDecoder(bufio.NewReader(limited))
	var out []Use
	open, err := dec.Token()
	if err != nil || open != json.Delim('{') {
		return nil, errors.New("read pods: this is no JSON object; give what `kubectl get pods -A -o json` prints")
	}
	listed := false
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, podError(err, limited)
		}
		if name != "items" {
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return nil, podError(err, limited)
			}
			continue
		}
		listed = true
		if t, err := dec.Token(); err != nil || t != json.Delim('[') {
			return nil, errors.New(`read pods: "items" is no list`)
		}
		for dec.More() {
			var p pod
			if err := dec.Decode(&p); err != nil {
				return nil, podError(err, limited)
			}
			out = append(out, p.uses()...)
		}
		if _, err := dec.Token(); err != nil {
			return nil, podError(err, limited)
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, podError(err, limited)
	}
	if !listed {
		return nil, errors.New(`read pods: it has no "items"; give what ` + "`kubectl get pods -A -o json` prints")
	}
	return out, nil
}

func podError(err error, r *io.LimitedReader) error {
	if r.N <= 0 {
		return fmt.Errorf("read pods: more than %d MiB", maxPods>>20)
	}
	return fmt.Errorf("read pods: %w", err)
}

func (p pod) uses() []Use {
	running := map[string]string{}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses) {
		running[c.Name] = digestOf(c.ImageID)
	}
	var out []Use
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers, p.Spec.EphemeralContainers) {
		u := Use{Where: p.Metadata.Namespace + "/" + p.Metadata.Name + "/" + c.Name, Ref: c.Image, Digest: running[c.Name]}
		if u.Digest == "" {
			u.Digest = digestOf(c.Image)
		}
		out = append(out, u)
	}
	return out
}

// digestOf returns the manifest's digest in a reference such as "docker-pullable://repo@sha256:…"; empty if it has none. A digest without a
// repository is one of a configuration, as some runtimes write it, and says nothing here.
func digestOf(ref string) string {
	name, digest, ok := strings.Cut(ref, "@")
	if !ok || name == "" || !strings.HasPrefix(digest, "sha256:") && !strings.HasPrefix(digest, "sha512:") {
		return ""
	}
	return digest
}

// maxLine bounds one image reference, in bytes.
const maxLine = 4 << 10

// ReadRefs reads image references, one a line; empty lines and those that begin with # don't count.
func ReadRefs(r io.Reader) ([]Use, error) {
	s := bufio.NewScanner(io.LimitReader(r, maxPods))
	s.Buffer(make([]byte, maxLine), maxLine)
	var out []Use
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		out = append(out, Use{Where: fmt.Sprintf("line %d", n), Ref: line, Digest: digestOf(line)})
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read image references: %w", err)
	}
	return out, nil
}

// Standing is what an image that runs is to the catalog.
type Standing string

// The standings, the worst first.
const (
	IsRevoked   Standing = "revoked"
	IsExposed   Standing = "exposed"      // approved, and the query is about it
	NotApproved Standing = "not approved" // the catalog approves no such image
	IsUnknown   Standing = "unknown"      // the catalog approves it, but the records don't say what is in it
	IsApproved  Standing = "approved"
)

// A Workload is a Use with its standing.
type Workload struct {
	Use
	Standing Standing `json:"standing"`
	Image    string   `json:"image,omitempty"` // the approved image, as "nginx:1.27.3"
	Scope    string   `json:"scope,omitempty"`
	Owner    string   `json:"owner,omitempty"`
	Why      string   `json:"why,omitempty"`
	MoveTo   []string `json:"move_to,omitempty"`
}

// Workloads tells the standing of everything that runs: what is worst first, else in the order of where it runs. Matches are those of the query.
func (x *Index) Workloads(uses []Use, q Query, matches []Match) []Workload {
	l := x.lookup(q, matches)
	out := make([]Workload, 0, len(uses))
	for _, u := range uses {
		out = append(out, l.standing(u))
	}
	slices.SortStableFunc(out, func(a, b Workload) int {
		return slices.Index(standings, a.Standing) - slices.Index(standings, b.Standing)
	})
	return out
}

var standings = []Standing{IsRevoked, IsExposed, NotApproved, IsUnknown, IsApproved}

// lookup finds images by digest and by reference.
type lookup struct {
	x       *Index
	q       Query
	digests map[string][]int   // images by the digests that they consist of
	refs    map[string][]int   // images by "repository:tag"
	revoked map[string]Revoked // by digest
	matched map[string][]Match // by the digest of the manifest, and of the image
}

func (x *Index) lookup(q Query, matches []Match) lookup {
	l := lookup{x: x, q: q, digests: map[string][]int{}, refs: map[string][]int{}, revoked: map[string]Revoked{}, matched: map[string][]Match{}}
	for n, i := range x.Images {
		l.digests[i.Digest] = append(l.digests[i.Digest], n)
		for _, m := range i.Manifests {
			if m.Digest != i.Digest {
				l.digests[m.Digest] = append(l.digests[m.Digest], n)
			}
		}
		for _, p := range i.Places {
			for _, t := range i.Tags {
				k := p.Repo + ":" + t
				l.refs[k] = append(l.refs[k], n)
			}
		}
	}
	for _, r := range x.Revoked {
		l.revoked[r.Digest] = r
	}
	for _, m := range matches {
		l.matched[m.Digest] = append(l.matched[m.Digest], m)
		for _, d := range m.manifests {
			if d != m.Digest {
				l.matched[d] = append(l.matched[d], m)
			}
		}
	}
	return l
}

func (l lookup) standing(u Use) Workload {
	w := Workload{Use: u}
	digest := u.Digest
	images := l.digests[digest]
	if digest == "" {
		if images = l.refs[withTag(u.Ref)]; len(images) > 0 {
			digest = l.x.Images[images[0]].Digest
		}
	}
	if len(images) > 0 {
		i := l.x.Images[images[0]]
		w.Image, w.Scope, w.Owner = i.Name+":"+i.Version, i.Scope, i.Owner
	}
	r, revoked := l.revoked[digest]
	switch matches := l.matched[digest]; {
	case revoked:
		w.Standing, w.Image, w.Why = IsRevoked, r.Name, r.Reason
		if r.Replacement != "" {
			w.MoveTo = []string{r.Replacement}
		}
	case len(matches) > 0:
		w.Standing, w.Why, w.MoveTo = IsExposed, matches[0].reason(len(matches)), matches[0].MoveTo
	case len(images) == 0 && len(l.x.Unread) > 0:
		w.Standing, w.Why = NotApproved, "no such image is known; a part of the registries could not be read"
	case len(images) == 0:
		w.Standing, w.Why = NotApproved, "the catalog approves no such image"
	case !l.q.Empty() && !l.x.Images[images[0]].listed():
		w.Standing, w.Why = IsUnknown, "its records don't say what is installed"
	default:
		w.Standing = IsApproved
	}
	return w
}

func (m Match) reason(all int) string {
	out := m.Package + " " + m.Installed
	if m.ID != "" {
		out = m.ID + " in " + out
	}
	if all > 1 {
		out += fmt.Sprintf(", and %d more", all-1)
	}
	return out
}

// withTag adds the tag that a reference without one means.
func withTag(ref string) string {
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		return ref
	}
	return ref + ":latest"
}
