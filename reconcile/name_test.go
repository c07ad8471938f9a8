package reconcile

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseRepo(t *testing.T) {
	cases := []struct{ in, out, err string }{
		{"docker.io/library/nginx", "docker.io/library/nginx", ""},
		{"docker.io/nginx", "docker.io/library/nginx", ""},
		{"index.docker.io/library/nginx", "docker.io/library/nginx", ""},
		{"Registry.Example.com:443/team/app", "registry.example.com/team/app", ""},
		{"localhost:5000/a", "localhost:5000/a", ""},
		{"[::1]:5000/a/b", "[::1]:5000/a/b", ""},
		{"nginx", "", `as in "docker.io/library/nginx"`},
		{"library/nginx", "", `as in "docker.io/library/nginx"`},
		{"example.com/", "", "is not a repository path"},
		{"example.com/../etc", "", "is not a repository path"},
		{"example.com/Upper", "", "is not a repository path"},
		{"example.com/a//b", "", "is not a repository path"},
		{"exa mple.com/a", "", "is not a registry host"},
		{"user@example.com/a", "", "is not a registry host"},
		{"https://example.com/a", "", "is not"},
		{"example.com/" + strings.Repeat("a", 256), "", "longer than 255"},
	}
	for _, c := range cases {
		r, err := ParseRepo(c.in)
		if got := r.String(); c.err == "" && (err != nil || got != c.out) {
			t.Errorf("%q: %q, %v, want %q", c.in, got, err, c.out)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%q: error %v, want %q", c.in, err, c.err)
		}
	}
}

func TestPrefixOwnsOnlyWhatIsBelowIt(t *testing.T) {
	p := prefix("example.com/approved")
	for in, want := range map[string]bool{
		"example.com/approved/nginx": true, "example.com/approved/a/b": true, "example.com/approved": false,
		"example.com/approved-not/nginx": false, "example.com/other": false, "evil.com/approved/nginx": false,
	} {
		if got := p.Owns(repo(in)); got != want {
			t.Errorf("owns %s: %v", in, got)
		}
	}
}

func TestRecordTagsNameTheirSubject(t *testing.T) {
	hex := strings.Repeat("ab", 32)
	for in, want := range map[string]string{
		"sha256-" + hex: "sha256:" + hex, "sha256-" + hex + ".sig": "sha256:" + hex, "sha256-" + hex + ".att": "sha256:" + hex,
		"sha256-" + hex + ".evil": "", "sha256-ab": "", "stable": "", "sha256-" + hex + "ab": "",
	} {
		d, ok := tag(in).Subject()
		if d.String() != want || ok != (want != "") {
			t.Errorf("%s: %s %v", in, d, ok)
		}
	}
}

func TestNamesSurviveJSON(t *testing.T) {
	a := Action{Digest: sum("x"), From: repo("docker.io/library/nginx"), Tag: tag("1.0")}
	b, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var back Action
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if back.Digest != a.Digest || back.From != a.From || back.Tag != a.Tag || !back.To.IsZero() {
		t.Errorf("%s became %+v", b, back)
	}
	if err := json.Unmarshal([]byte(`{"digest":"sha256:nope"}`), &back); err == nil {
		t.Error("a false digest was read")
	}
}

func FuzzNames(f *testing.F) {
	f.Add("docker.io/library/nginx")
	f.Add("sha256:" + strings.Repeat("0", 64))
	f.Add("linux/arm64/v8")
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := ParseRepo(s); err == nil {
			if again, err := ParseRepo(r.String()); err != nil || again != r {
				t.Errorf("%q is not normal: %q, %v", s, again, err)
			}
		}
		if d, err := ParseDigest(s); err == nil && d.String() != s {
			t.Errorf("digest %q", s)
		}
		if tg, err := ParseTag(s); err == nil {
			tg.Subject()
		}
		if p, err := ParsePlatform(s); err == nil && p.String() != s {
			t.Errorf("platform %q", s)
		}
		if p, err := ParsePrefix(s); err == nil {
			if again, err := ParsePrefix(p.String()); err != nil || again != p {
				t.Errorf("prefix %q: %v", s, err)
			}
		}
	})
}
