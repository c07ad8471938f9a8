package reconcile

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
)

// A Repo is a repository on a registry: a host and a path, as in "registry.example.com/team/app". It is made by
// ParseRepo only, which normalises it, so that two Repos are the same repository exactly when they are ==.
type Repo struct{ host, path string }

// A Digest names content by its SHA-256 or SHA-512 sum, as in "sha256:9f86…". It is made by ParseDigest only.
type Digest struct{ s string }

// A Tag is a name within a repository that points to a digest. It is made by ParseTag only.
type Tag struct{ s string }

// A Prefix is what a reconciler owns of a registry: a host and, below it, every repository whose path starts with
// the prefix's path and a slash. An empty path owns the whole host.
type Prefix struct{ host, path string }

// An Image is content in a place: a digest in a repository.
type Image struct {
	Repo   Repo   `json:"repo"`
	Digest Digest `json:"digest"`
}

// A Platform is what an image's manifest was built for, written "os/architecture" or "os/architecture/variant".
type Platform struct{ OS, Architecture, Variant string }

// The grammars below are those of the OCI distribution specification v1.1, "Pulling manifests", with the length limits
// that registries apply.
var (
	hostGrammar = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])(?::[0-9]{1,5})?$`)
	pathGrammar = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	sha256Hex   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	sha512Hex   = regexp.MustCompile(`^[0-9a-f]{128}$`)
	recordTag   = regexp.MustCompile(`^sha256-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?$`)
	platformRE  = regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)
)

const maxRepoLength = 255

// ParseRepo parses "host/path". The host must be written out: "docker.io/library/nginx", not "nginx".
func ParseRepo(s string) (Repo, error) {
	host, path, ok := strings.Cut(s, "/")
	if !ok || !looksLikeHost(host) {
		return Repo{}, fmt.Errorf("repository %q names no registry; write the host too, as in %q", s, suggestHost(s))
	}
	host, err := parseHost(host)
	if err != nil {
		return Repo{}, fmt.Errorf("repository %q: %w", s, err)
	}
	if host == "docker.io" && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	if err := checkPath(path); err != nil {
		return Repo{}, fmt.Errorf("repository %q: %w", s, err)
	}
	if len(host)+1+len(path) > maxRepoLength {
		return Repo{}, fmt.Errorf("repository %q is longer than %d characters", s, maxRepoLength)
	}
	return Repo{host, path}, nil
}

// ParsePrefix parses "host" or "host/path".
func ParsePrefix(s string) (Prefix, error) {
	host, path, _ := strings.Cut(strings.TrimSuffix(s, "/"), "/")
	host, err := parseHost(host)
	if err != nil {
		return Prefix{}, fmt.Errorf("registry address %q: %w", s, err)
	}
	if path != "" {
		if err := checkPath(path); err != nil {
			return Prefix{}, fmt.Errorf("registry address %q: %w", s, err)
		}
	}
	return Prefix{host, path}, nil
}

// ParseDigest parses "sha256:" and 64, or "sha512:" and 128, lower-case hexadecimal digits.
func ParseDigest(s string) (Digest, error) {
	algorithm, hex, _ := strings.Cut(s, ":")
	switch {
	case algorithm == "sha256" && sha256Hex.MatchString(hex), algorithm == "sha512" && sha512Hex.MatchString(hex):
		return Digest{s}, nil
	case algorithm == "sha256":
		return Digest{}, fmt.Errorf("digest %q is not sha256: and 64 lower-case hexadecimal digits", s)
	}
	return Digest{}, fmt.Errorf("digest %q is neither a sha256 nor a sha512 digest", s)
}

// ParseTag parses a tag by the OCI grammar: a letter, digit or underscore, then at most 127 more of these, dots and hyphens.
func ParseTag(s string) (Tag, error) {
	if !tagGrammar.MatchString(s) {
		return Tag{}, fmt.Errorf("tag %q is not a letter, digit or underscore followed by at most 127 letters, digits, underscores, dots and hyphens", s)
	}
	return Tag{s}, nil
}

// ParsePlatform parses "os/architecture" or "os/architecture/variant".
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return Platform{}, fmt.Errorf("platform %q is not os/architecture or os/architecture/variant", s)
	}
	for _, p := range parts {
		if !platformRE.MatchString(p) {
			return Platform{}, fmt.Errorf("platform %q is not os/architecture or os/architecture/variant", s)
		}
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// MustDigest is ParseDigest for digests that the program itself computed; it panics on any other.
func MustDigest(s string) Digest {
	d, err := ParseDigest(s)
	if err != nil {
		panic(err)
	}
	return d
}

// looksLikeHost tells a host from a first path component the way container tools do: a dot, a port, or localhost.
func looksLikeHost(s string) bool {
	return strings.ContainsAny(s, ".:") || s == "localhost"
}

func suggestHost(s string) string {
	if strings.Contains(s, "/") {
		return "docker.io/" + s
	}
	return "docker.io/library/" + s
}

func parseHost(s string) (string, error) {
	h := strings.ToLower(s)
	if !hostGrammar.MatchString(h) {
		return "", fmt.Errorf("%q is not a registry host", s)
	}
	h = strings.TrimSuffix(h, ":443")
	switch h {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		h = "docker.io"
	}
	return h, nil
}

func checkPath(p string) error {
	if !pathGrammar.MatchString(p) {
		return fmt.Errorf("%q is not a repository path (lower-case letters and digits, separated by single dots, underscores, hyphens and slashes)", p)
	}
	return nil
}

func (r Repo) Host() string   { return r.host }
func (r Repo) Path() string   { return r.path }
func (r Repo) IsZero() bool   { return r == Repo{} }
func (r Repo) String() string { return join(r.host, r.path) }

func (r Repo) compare(o Repo) int {
	return cmp.Or(strings.Compare(r.host, o.host), strings.Compare(r.path, o.path))
}

func (p Prefix) compare(o Prefix) int {
	return cmp.Or(strings.Compare(p.host, o.host), strings.Compare(p.path, o.path))
}

func (p Prefix) Host() string   { return p.host }
func (p Prefix) Path() string   { return p.path }
func (p Prefix) String() string { return join(p.host, p.path) }

// Repo returns the repository at path below the prefix.
func (p Prefix) Repo(path string) (Repo, error) {
	return ParseRepo(p.String() + "/" + path)
}

// Owns tells whether the repository lies below the prefix.
func (p Prefix) Owns(r Repo) bool {
	return r.host == p.host && (p.path == "" || strings.HasPrefix(r.path, p.path+"/"))
}

// Below returns the repository's path below the prefix, which must own it.
func (p Prefix) Below(r Repo) string {
	if p.path == "" {
		return r.path
	}
	return strings.TrimPrefix(r.path, p.path+"/")
}

func (d Digest) String() string { return d.s }
func (d Digest) IsZero() bool   { return d.s == "" }

// Algorithm returns "sha256" or "sha512".
func (d Digest) Algorithm() string { a, _, _ := strings.Cut(d.s, ":"); return a }

// Hex returns the hexadecimal digits.
func (d Digest) Hex() string { _, h, _ := strings.Cut(d.s, ":"); return h }

// Short returns the algorithm and the first twelve digits, for people.
func (d Digest) Short() string {
	if d.IsZero() {
		return ""
	}
	return d.Algorithm() + ":" + d.Hex()[:12]
}

func (t Tag) String() string { return t.s }
func (t Tag) IsZero() bool   { return t.s == "" }

// Subject returns the digest that a tag of the form "sha256-<hex>", optionally with .sig, .att or .sbom, speaks about. Such tags
// hold records about an image (the referrers fallback of the OCI distribution specification, and cosign's legacy format);
// they are no image's name.
func (t Tag) Subject() (Digest, bool) {
	m := recordTag.FindStringSubmatch(t.s)
	if m == nil {
		return Digest{}, false
	}
	return Digest{"sha256:" + m[1]}, true
}

func (i Image) String() string { return i.Repo.String() + "@" + i.Digest.String() }
func (i Image) IsZero() bool   { return i == Image{} }

func (p Platform) String() string {
	if p.Variant != "" {
		return p.OS + "/" + p.Architecture + "/" + p.Variant
	}
	return p.OS + "/" + p.Architecture
}

// Runnable tells a platform that a container can run on from "unknown/unknown", which marks attestations inside an index.
func (p Platform) Runnable() bool {
	return p.OS != "" && p.OS != "unknown" && p.Architecture != "" && p.Architecture != "unknown"
}

func (r Repo) MarshalText() ([]byte, error)   { return []byte(r.String()), nil }
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.s), nil }
func (t Tag) MarshalText() ([]byte, error)    { return []byte(t.s), nil }
func (p Prefix) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p Platform) MarshalText() ([]byte, error) {
	if p == (Platform{}) {
		return nil, nil
	}
	return []byte(p.String()), nil
}

func (r *Repo) UnmarshalText(b []byte) (err error)     { return unmarshal(r, b, ParseRepo) }
func (d *Digest) UnmarshalText(b []byte) (err error)   { return unmarshal(d, b, ParseDigest) }
func (t *Tag) UnmarshalText(b []byte) (err error)      { return unmarshal(t, b, ParseTag) }
func (p *Prefix) UnmarshalText(b []byte) (err error)   { return unmarshal(p, b, ParsePrefix) }
func (p *Platform) UnmarshalText(b []byte) (err error) { return unmarshal(p, b, ParsePlatform) }

// unmarshal lets a zero value survive the round trip as an empty string.
func unmarshal[T any](to *T, b []byte, parse func(string) (T, error)) error {
	var zero T
	if len(b) == 0 {
		*to = zero
		return nil
	}
	v, err := parse(string(b))
	if err != nil {
		return err
	}
	*to = v
	return nil
}

func join(host, path string) string {
	if path == "" {
		return host
	}
	return host + "/" + path
}
