package exposure

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

var (
	now  = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	seen = now.Add(-48 * time.Hour)
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func digest(n int) reconcile.Digest { return reconcile.MustDigest(fmt.Sprintf("sha256:%064x", n)) }

// holding is an image of two platforms in one registry, which has lodash in the given version.
func holding(n int, name, version, lodash, registry string) reconcile.Holding {
	h := reconcile.Holding{
		Want:   reconcile.Want{Name: name, Version: version, From: reconcile.Image{Repo: must(reconcile.ParseRepo("docker.io/library/" + name)), Digest: digest(10 * n)}, Owner: "@acme/edge", Scope: "payments", Tags: []reconcile.Tag{must(reconcile.ParseTag(version))}},
		Target: reconcile.Target{Registry: registry, Repo: must(reconcile.ParseRepo(registry + ".example.com/approved/" + name))},
		Since:  now.Add(-1000 * time.Hour),
	}
	for i, arch := range []string{"amd64", "arm64"} {
		p := reconcile.Package{Name: "lodash", Version: lodash, Ecosystem: "npm", PURL: "pkg:npm/lodash@" + lodash, License: "MIT"}
		scan := reconcile.Scan{Scanner: "builtin", Packages: 2, Ecosystems: []string{"npm"}, Inventory: &reconcile.Inventory{Lister: "builtin", Packages: []reconcile.Package{p,
			{Name: "=cmd|' /C calc'!A0", Version: "1", Ecosystem: "npm", PURL: "pkg:npm/x@1", License: "AGPL-3.0-only"}}}}
		if lodash == "4.17.4" {
			scan.Vulnerabilities = []reconcile.Vulnerability{{ID: "GHSA-jf85-cpcp-j695", Aliases: []string{"CVE-2019-10744"}, Package: p, Severity: reconcile.Critical, FixedIn: []string{"4.17.12"}, FirstSeen: seen}}
		}
		h.Manifests = append(h.Manifests, reconcile.HeldManifest{Digest: digest(10*n + i + 1), Platform: reconcile.Platform{OS: "linux", Architecture: arch}, Scans: []reconcile.Scan{scan}})
	}
	h.Tree = reconcile.Tree{Root: digest(10 * n), Manifests: []reconcile.Manifest{{Digest: digest(10*n + 5), Artifact: "application/vnd.in-toto+json"}, {Digest: digest(10 * n)}}}
	return h
}

func world() (reconcile.Desired, []reconcile.Holding) {
	unlisted := holding(3, "redis", "7", "4.17.21", "eu")
	for i := range unlisted.Manifests {
		unlisted.Manifests[i].Scans = nil
	}
	d := reconcile.Desired{Commit: "c1", Revoked: []reconcile.Revocation{{Name: "app", Digest: digest(990), Reason: "it was malware", Replacement: "2.0"}}}
	return d, []reconcile.Holding{holding(1, "app", "1.0", "4.17.4", "eu"), holding(1, "app", "1.0", "4.17.4", "us"), holding(2, "app", "2.0", "4.17.21", "eu"), unlisted}
}

func TestWhatContainsAVulnerability(t *testing.T) {
	d, h := world()
	x := Build(d, h, nil, now)
	for _, id := range []string{"CVE-2019-10744", "ghsa-jf85-cpcp-j695"} {
		got := x.Find(Query{ID: id})
		if len(got) != 1 {
			t.Fatalf("%s: %+v", id, got)
		}
		m := got[0]
		m.manifests, m.index = nil, 0
		want := Match{Image: "app", Version: "1.0", Digest: digest(10).String(), Platforms: []string{"linux/amd64", "linux/arm64"}, Scope: "payments", Owner: "@acme/edge",
			Package: "lodash", Installed: "4.17.4", PURL: "pkg:npm/lodash@4.17.4", License: "MIT", ID: "CVE-2019-10744", Severity: "critical", FixedIn: []string{"4.17.12"}, Since: seen,
			Places: []string{"eu.example.com/approved/app", "us.example.com/approved/app"}, MoveTo: []string{"2.0"}}
		if !reflect.DeepEqual(m, want) {
			t.Errorf("got  %+v\nwant %+v", m, want)
		}
	}
	if got := x.Find(Query{ID: "CVE-2019-1074"}); len(got) > 0 {
		t.Errorf("a part of an identifier finds %+v", got)
	}
}

func TestWhatContainsAPackageOrALicence(t *testing.T) {
	d, h := world()
	x := Build(d, h, nil, now)
	lodash := func(p Package) bool { return p.Name == "lodash" }
	if got := x.Find(Query{Package: lodash}); len(got) != 2 || len(got[0].MoveTo) != 0 || !got[0].Since.Equal(now.Add(-1000*time.Hour)) {
		t.Errorf("%+v", got)
	}
	agpl := func(l string) bool { return l == "AGPL-3.0-only" }
	if got := x.Find(Query{License: agpl}); len(got) != 2 || got[0].License != "AGPL-3.0-only" {
		t.Errorf("%+v", got)
	}
	if got := x.Find(Query{License: agpl, Package: lodash}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if got := x.Unlisted(); fmt.Sprint(got) != "[redis:7]" {
		t.Errorf("unlisted: %v", got)
	}
	if got := x.Find(Query{}); got != nil {
		t.Errorf("an empty query finds %+v", got)
	}
}

func TestTheOrderOfTheInputMeansNothing(t *testing.T) {
	d, h := world()
	want := Build(d, h, nil, now)
	for range 20 {
		rand.Shuffle(len(h), func(i, j int) { h[i], h[j] = h[j], h[i] })
		if got := Build(d, h, nil, now); !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v\n%+v", got, want)
		}
	}
}

func TestAnIndexIsReadBackOrBuiltAnew(t *testing.T) {
	d, h := world()
	x := Build(d, h, nil, now)
	file := filepath.Join(t.TempDir(), "deep", "x.index")
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), ErrNoIndex.Error()) {
		t.Errorf("no file: %v", err)
	}
	if err := x.Write(file); err != nil {
		t.Fatal(err)
	}
	got, err := Read(file)
	if err != nil || !reflect.DeepEqual(got.Find(Query{ID: "CVE-2019-10744"}), x.Find(Query{ID: "CVE-2019-10744"})) {
		t.Errorf("%+v, %v", got, err)
	}
	whole, _ := os.ReadFile(file)
	for _, broken := range [][]byte{nil, whole[:len(whole)/2], []byte("no index"), bytes.Repeat([]byte{0x1f, 0x8b}, 100)} {
		if err := os.WriteFile(file, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(file); err == nil || !strings.Contains(err.Error(), ErrNoIndex.Error()) {
			t.Errorf("%.10q: %v", broken, err)
		}
	}
}

const pods = `{"apiVersion":"v1","kind":"List","items":[
 {"metadata":{"namespace":"shop","name":"a"},"spec":{"containers":[{"name":"main","image":"eu.example.com/approved/app:1.0"}]},
  "status":{"containerStatuses":[{"name":"main","imageID":"docker-pullable://eu.example.com/approved/app@%[1]s"}]}},
 {"metadata":{"namespace":"shop","name":"b"},"spec":{"initContainers":[{"name":"init","image":"eu.example.com/approved/app@%[2]s"}],"containers":[{"name":"main","image":"eu.example.com/approved/app:2.0"}]},
  "status":{"containerStatuses":[{"name":"main","imageID":"sha256:abc"}]}},
 {"metadata":{"namespace":"shop","name":"c"},"spec":{"containers":[{"name":"main","image":"docker.io/library/nginx"}]},"status":{}},
 {"metadata":{"namespace":"shop","name":"d"},"spec":{"containers":[{"name":"main","image":"eu.example.com/approved/redis:7"}]},"status":{}}
]}`

func TestTheStandingOfWhatRuns(t *testing.T) {
	d, h := world()
	x := Build(d, h, nil, now)
	uses, err := ReadPods(strings.NewReader(fmt.Sprintf(pods, digest(11), digest(990))))
	if err != nil {
		t.Fatal(err)
	}
	q := Query{ID: "CVE-2019-10744"}
	var got []string
	for _, w := range x.Workloads(uses, q, x.Find(q)) {
		got = append(got, fmt.Sprintf("%s %s %s %v", w.Where, w.Standing, w.Image, w.MoveTo))
	}
	want := []string{
		"shop/b/init revoked app [2.0]",
		"shop/a/main exposed app:1.0 [2.0]",
		"shop/c/main not approved  []",
		"shop/d/main unknown redis:7 []",
		"shop/b/main approved app:2.0 []",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestListsThatAreNoPods(t *testing.T) {
	for name, s := range map[string]string{"empty": "", "list": "[]", "no items": `{"kind":"Pod"}`, "items of another kind": `{"items":{}}`, "cut": `{"items":[{"metadata":`, "wrong types": `{"items":[{"metadata":7}]}`} {
		if got, err := ReadPods(strings.NewReader(s)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	refs, err := ReadRefs(strings.NewReader("# a comment\n\n a@sha256:" + strings.Repeat("0", 64) + "\nb:1\n"))
	if err != nil || len(refs) != 2 || refs[0].Digest == "" || refs[1].Where != "line 4" {
		t.Errorf("%+v, %v", refs, err)
	}
	if _, err := ReadRefs(strings.NewReader(strings.Repeat("x", 10_000))); err == nil {
		t.Error("an endless line was read")
	}
}

func FuzzReadPods(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(pods, digest(1), digest(2))))
	f.Add([]byte(`{"items":[{"spec":{"containers":[{"image":"@"}]}}]}`))
	d, h := world()
	x := Build(d, h, nil, now)
	f.Fuzz(func(t *testing.T, b []byte) {
		uses, err := ReadPods(bytes.NewReader(b))
		if err != nil {
			return
		}
		if got := x.Workloads(uses, Query{}, nil); len(got) != len(uses) {
			t.Errorf("%d of %d", len(got), len(uses))
		}
		if _, err := json.Marshal(uses); err != nil {
			t.Error(err)
		}
	})
}

// large is 10,000 inventories of 150 packages.
func large() []reconcile.Holding {
	r := rand.New(rand.NewPCG(1, 2))
	var out []reconcile.Holding
	for n := range 5_000 {
		h := holding(n, fmt.Sprintf("image-%d", n/5), fmt.Sprintf("1.%d", n%5), "4.17.21", "eu")
		for i := range h.Manifests {
			s := &h.Manifests[i].Scans[0]
			for range 148 {
				k := r.IntN(20_000)
				p := reconcile.Package{Name: fmt.Sprintf("package-%d", k/10), Version: fmt.Sprintf("1.%d.0", k%10), Ecosystem: "npm", PURL: fmt.Sprintf("pkg:npm/package-%d@1.%d.0", k/10, k%10), License: "MIT"}
				s.Inventory.Packages = append(s.Inventory.Packages, p)
				if k%50 == 0 {
					s.Vulnerabilities = append(s.Vulnerabilities, reconcile.Vulnerability{ID: fmt.Sprintf("CVE-2026-%d", 10_000+k), Package: p, Severity: reconcile.High})
				}
			}
		}
		out = append(out, h)
	}
	return out
}

func BenchmarkTenThousandInventories(b *testing.B) {
	h := large()
	start := time.Now()
	x := Build(reconcile.Desired{}, h, nil, now)
	b.Logf("build: %s", time.Since(start))
	file := filepath.Join(b.TempDir(), "x.index")
	if err := x.Write(file); err != nil {
		b.Fatal(err)
	}
	info, _ := os.Stat(file)
	b.Logf("file: %.1f MB", float64(info.Size())/1e6)
	for name, q := range map[string]Query{
		"cve":     {ID: "CVE-2026-10050"},
		"package": {Package: func(p Package) bool { return p.Name == "package-7" }},
		"license": {License: func(l string) bool { return l == "AGPL-3.0-only" }},
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				x, err := Read(file)
				if err != nil {
					b.Fatal(err)
				}
				if len(x.Find(q)) == 0 {
					b.Fatal("nothing was found")
				}
			}
		})
	}
}
