package test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
)

// These tests let the programs that others use judge what Assay wrote.

// published is a world after one reconcile, with the digests of its image: the index first, then each platform's manifest.
type published struct {
	*world
	digests []string
}

// publish reconciles an image with signatures in some formats. More is added to the organization's file.
func publish(t *testing.T, formats, more string) published {
	t.Helper()
	w := newWorld(t, registrytest.Distribution)
	w.signing = false
	w.extra = fmt.Sprintf("signer \"main\" {\n  key = %q\n  formats = %s\n}\n%s", filepath.Join(w.dir, "cosign.key"), formats, more)
	w.write("../trusted_root.json", `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`)
	for _, dir := range []string{"stranger", "registries.d"} {
		if err := os.Mkdir(filepath.Join(w.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	writeKey(t, filepath.Join(w.dir, "stranger"))
	one := w.push("web", "1.0", 10)
	w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+one)})
	w.run(0, "reconcile")
	return published{w, append([]string{one}, w.platforms("web", one)...)}
}

// platforms returns the digests of the manifests of an index that run.
func (w *world) platforms(path, digest string) []string {
	w.t.Helper()
	tree, err := reader().Tree(context.Background(), reconcile.Image{Repo: w.source.Repo(path), Digest: reconcile.MustDigest(digest)})
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, m := range tree.Runnable() {
		out = append(out, m.Digest.String())
	}
	return out
}

// names are the published digests as they are called on a registry.
func (p published) names(s *registrytest.Server) []string {
	var out []string
	for _, d := range p.digests {
		out = append(out, s.Host+"/approved/web@"+d)
	}
	return out
}

// cosigns are the cosign commands that can be had. Without any, the test is skipped.
func cosigns(t *testing.T) map[string]string {
	t.Helper()
	dir := os.Getenv("ASSAY_TEST_TOOLS")
	if dir == "" {
		t.Skip("ASSAY_TEST_TOOLS names no folder with the cosign command; test/run builds it")
	}
	found, err := filepath.Glob(filepath.Join(dir, "cosign-v*"))
	if err != nil || len(found) == 0 {
		t.Fatalf("%s holds no cosign command: %v", dir, err)
	}
	out := map[string]string{}
	for _, path := range found {
		out[strings.TrimPrefix(filepath.Base(path), "cosign-")] = path
	}
	return out
}

// command runs a peer in the world's folder, which has cosign.pub, a stranger's key and a trusted root of nobody.
func (p published) command(program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "HOME="+p.dir, "TUF_ROOT="+filepath.Join(p.dir, "tuf"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// How cosign is asked: without a transparency log, since Assay's signatures are in none.
var (
	plain     = []string{"--insecure-ignore-tlog=true", "--allow-insecure-registry"}
	rooted    = append(slices.Clip(plain), "--trusted-root=trusted_root.json") // wherever there is a bundle; the root may trust nobody
	asBundles = append(slices.Clip(rooted), "--new-bundle-format")
)

func TestCosignVerifiesTheIndexAndEachPlatform(t *testing.T) {
	commands := cosigns(t)
	for _, c := range []struct {
		formats string
		ways    [][]string
	}{
		{`["legacy"]`, [][]string{plain, rooted}},
		{`["bundle"]`, [][]string{rooted, asBundles}},
		{`["legacy", "bundle"]`, [][]string{rooted, asBundles}},
	} {
		t.Run(c.formats, func(t *testing.T) {
			t.Parallel()
			p := publish(t, c.formats, "")
			for version, cosign := range commands {
				for _, way := range c.ways {
					if out, err := p.command(cosign, slices.Concat([]string{"verify", "--key=cosign.pub"}, way, p.names(p.eu), p.names(p.us))...); err != nil {
						t.Errorf("cosign %s %v: %v\n%s", version, way, err, out)
					}
					if out, err := p.command(cosign, slices.Concat([]string{"verify", "--key=stranger/cosign.pub"}, way, p.names(p.eu)[:1])...); err == nil {
						t.Errorf("cosign %s %v: another key is accepted\n%s", version, way, out)
					}
				}
			}
		})
	}
}

// scanner declares a scanner that finds nothing in one package.
func scanner(t *testing.T, name string) string {
	t.Helper()
	document := filepath.Join(t.TempDir(), "scan.json")
	if err := os.WriteFile(document, []byte(`{"schema": "assay.scan/v1", "version": "1.2.3", "database": "2026-11-20T06:00:00Z", "ecosystems": ["Go"], "packages": 1, "vulnerabilities": []}`), 0o644); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("scanner %q {\n  command = [\"sh\", \"-c\", \"cat $1\", \"sh\", %q, \"{layout}\"]\n}\n", name, document) // it may read the files that its arguments name
}

func TestCosignVerifiesWhatScannersSaid(t *testing.T) {
	commands := cosigns(t)
	for _, formats := range []string{`["bundle"]`, `["legacy", "bundle"]`} {
		t.Run(formats, func(t *testing.T) {
			t.Parallel()
			p := publish(t, formats, scanner(t, "other"))
			for version, cosign := range commands {
				for _, platform := range p.names(p.us)[1:] {
					out, err := p.command(cosign, slices.Concat([]string{"verify-attestation", "--type=vuln", "--key=cosign.pub"}, asBundles, []string{platform})...)
					if err != nil {
						t.Errorf("cosign %s: %v\n%s", version, err, out)
					}
					if s := statement(t, out); s.PredicateType != "https://cosign.sigstore.dev/attestation/vuln/v1" || !strings.Contains(string(s.Predicate), `"1.2.3"`) ||
						!strings.HasSuffix(platform, s.Subject[0].Digest["sha256"]) {
						t.Errorf("cosign %s shows %+v", version, s)
					}
					for _, wrong := range [][]string{{"--type=vuln", "--key=stranger/cosign.pub"}, {"--type=spdxjson", "--key=cosign.pub"}} {
						if out, err := p.command(cosign, slices.Concat([]string{"verify-attestation"}, wrong, asBundles, []string{platform})...); err == nil {
							t.Errorf("cosign %s accepts %v\n%s", version, wrong, out)
						}
					}
				}
			}
		})
	}
}

type inToto struct {
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
	Subject       []struct {
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
}

// statement finds the in-toto statement in what cosign prints: messages, then an envelope with the statement in base64.
func statement(t *testing.T, out string) inToto {
	t.Helper()
	var s inToto
	for line := range strings.Lines(out) {
		var envelope struct{ Payload []byte }
		if json.Unmarshal([]byte(line), &envelope) == nil && json.Unmarshal(envelope.Payload, &s) == nil {
			return s
		}
	}
	t.Fatalf("there is no envelope in\n%s", out)
	return s
}

func skopeo(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("skopeo is not installed (Debian: apt-get install skopeo)")
	}
	return path
}

func TestSkopeoReadsWhatWasWritten(t *testing.T) {
	program := skopeo(t)
	p := publish(t, `["legacy", "bundle"]`, "")
	tagged := "docker://" + p.eu.Host + "/approved/web:1.0"
	out, err := p.command(program, "inspect", "--tls-verify=false", "--format={{.Digest}} {{.Os}}/{{.Architecture}}", "--override-arch=arm64", tagged)
	if err != nil || strings.TrimSpace(out) != p.digests[0]+" linux/arm64" {
		t.Errorf("inspect: %v\n%s", err, out)
	}
	if out, err := p.command(program, "inspect", "--tls-verify=false", "--raw", tagged); err != nil || sha256Of(out) != p.digests[0] {
		t.Errorf("inspect --raw: %v\n%s", err, out)
	}
	// Older skopeos write an index anew in their own order of fields, so its bytes are compared above and those of all else below.
	if out, err := p.command(program, "copy", "--all", "--src-tls-verify=false", "--insecure-policy", tagged, "dir:all"); err != nil {
		t.Fatalf("copy --all: %v\n%s", err, out)
	}
	tree, err := reader().Tree(context.Background(), reconcile.Image{Repo: p.source.Repo("web"), Digest: reconcile.MustDigest(p.digests[0])})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, m := range tree.Manifests {
		if !m.Index() {
			want[m.Digest.Hex()+".manifest.json"] = m.Digest.String()
		}
		for _, b := range m.Blobs {
			want[b.Digest.Hex()] = b.Digest.String()
		}
	}
	if len(want) < 12 { // an index of two platforms and their attestations, each with a configuration and layers, of which one is shared
		t.Fatalf("only %d files: %v", len(want), want)
	}
	for name, digest := range want {
		if b, err := os.ReadFile(filepath.Join(p.dir, "all", name)); err != nil || sha256Of(string(b)) != digest {
			t.Errorf("%s is not what it was: %v", digest, err)
		}
	}
}

func sha256Of(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }

// What podman, skopeo and CRI-O need to insist on our signatures: the legacy format, since they read no bundles; in registries.d,
// use-sigstore-attachments for the registry; in policy.json, sigstoreSigned with the public key's path, and exactRepository with the
// canonical name (matchRepository where that is the registry's own). As in cosign's own signatures the identity is a repository without
// tag or digest, which remapIdentity and the default never accept. One limit: what BuildKit puts beside an image in an index bears no
// signature, so that such an index can be pulled for a platform, but not copied whole.
//
// Debian builds skopeo without sigstore signatures; one that has them has to stand in PATH before it.
func TestSkopeosPolicyAcceptsOurSignatures(t *testing.T) {
	program := skopeo(t)
	p := publish(t, `["legacy"]`, "")
	here := p.eu.Host + "/approved"
	bare := p.source.Push("bare", registrytest.Index(false, nil, registrytest.Layer(8, 10), registrytest.Layer(9, 10)), "1.0").Digest.String()
	p.commit(map[string]string{"web.hcl": p.image("web", "1.0 "+p.digests[0]), "bare.hcl": p.image("bare", "1.0 "+bare)})
	p.run(0, "reconcile")
	remap := fmt.Sprintf(`{"type": "remapIdentity", "prefix": %q, "signedPrefix": "images.example.com/approved"}`, here)
	exact := func(repo string) string {
		return fmt.Sprintf(`{"type": "exactRepository", "dockerRepository": "images.example.com/approved/%s"}`, repo)
	}
	unsigned := registrytest.Push(t, p.eu.Host, "approved/unsigned", registrytest.Image("amd64", registrytest.Layer(5, 10)), "1.0")
	p.write("../registries.d/default.yaml", "docker:\n  "+here+":\n    use-sigstore-attachments: true\n")
	const all, one, none = 2, 1, 0 // platforms that are accepted
	for _, c := range []struct {
		name, identity, key, image string
		accepted                   int
	}{
		{"by tag", exact("bare"), "cosign.pub", here + "/bare:1.0", all},
		{"by digest", exact("bare"), "cosign.pub", here + "/bare@" + bare, all},
		{"with attestations in the index", exact("web"), "cosign.pub", here + "/web:1.0", one},
		{"by tag, remapped", remap, "cosign.pub", here + "/bare:1.0", none},
		{"by digest, remapped", remap, "cosign.pub", here + "/bare@" + bare, none},
		{"another key", exact("bare"), "stranger/cosign.pub", here + "/bare:1.0", none},
		{"another identity", exact("api"), "cosign.pub", here + "/bare:1.0", none},
		{"not signed", exact("unsigned"), "cosign.pub", unsigned.String(), none},
	} {
		p.write("../policy.json", fmt.Sprintf(`{"default": [{"type": "reject"}], "transports": {"docker": {%q: [{"type": "sigstoreSigned", "keyPath": %q, "signedIdentity": %s}]}}}`,
			here, filepath.Join(p.dir, c.key), c.identity))
		for least, which := range map[int]string{all: "--multi-arch=all", one: "--multi-arch=system"} {
			out, err := p.command(program, "--policy=policy.json", "--registries.d=registries.d", "copy", which, "--remove-signatures", "--src-tls-verify=false",
				"docker://"+c.image, "dir:"+t.TempDir())
			if strings.Contains(out, "sigstore disabled") {
				t.Skip("this skopeo was built without sigstore signatures, as Debian's is")
			}
			if (err == nil) != (c.accepted >= least) {
				t.Errorf("%s, %s: %v\n%s", c.name, which, err, out)
			}
			if err != nil && !strings.Contains(out, "Source image rejected") {
				t.Errorf("%s, %s: refused for another reason:\n%s", c.name, which, out)
			}
		}
	}
}
