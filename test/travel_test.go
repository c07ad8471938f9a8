package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
	"github.com/assay-oci/assay/reconcile/sign"
)

// newTravelling is an organization where others' records travel with images, and an image that its maker signed and attested with a cosign command.
func newTravelling(t *testing.T, software registrytest.Software, version, cosign, format string) published {
	t.Helper()
	w := newWorld(t, software)
	w.scope = "  upstream_records = true\n"
	if err := os.Mkdir(filepath.Join(w.dir, "maker"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeKey(t, filepath.Join(w.dir, "maker"))
	w.write("../trusted_root.json", `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`)
	w.write("../provenance.json", `{"buildDefinition":{"buildType":"https://builder.example.com/container","externalParameters":{}},"runDetails":{"builder":{"id":"https://builder.example.com/v1"}}}`)
	p := published{w, []string{w.push("web", "1.0", 10)}}
	offline := []string{"--key=maker/import.key", "--tlog-upload=false", "--yes", "--allow-insecure-registry", "--new-bundle-format=" + format}
	if strings.HasPrefix(version, "v3") { // it else asks the public instance which log to write to
		offline = append(offline, "--use-signing-config=false")
	}
	image := w.source.Host + "/web@" + p.digests[0]
	for _, args := range [][]string{
		{"import-key-pair", "--key=maker/cosign.key", "--output-key-prefix=maker/import"},
		slices.Concat([]string{"sign"}, offline, []string{image}),
		slices.Concat([]string{"attest", "--type=slsaprovenance1", "--predicate=provenance.json"}, offline, []string{image}),
	} {
		if out, err := p.command(cosign, args...); err != nil {
			t.Fatalf("cosign %s %v: %v\n%s", version, args, err, out)
		}
	}
	w.commit(map[string]string{"web.hcl": w.image("web", "1.0 "+p.digests[0])})
	return p
}

// What the maker signed and what we signed are both verified at each registry, on those with the referrers API and those without; and both go with the
// image. One limit is cosign v2.6.5's: where there is a bundle, and ours is one, it reads no other format, whatever it is told.
func TestWhatTheMakerSignedTravelsWithTheImage(t *testing.T) {
	commands := cosigns(t)
	first := append(slices.Clip(plain), "--new-bundle-format=false")
	for _, c := range []struct {
		maker, format string
		makersWay     map[string][]string // by the verifying command's version
	}{
		{"v2.6.5", "false", map[string][]string{"v3.1.3": first}},
		{"v3.1.3", "true", map[string][]string{"v2.6.5": asBundles, "v3.1.3": asBundles}},
	} {
		for _, software := range []registrytest.Software{registrytest.Distribution, registrytest.Referrers} {
			t.Run(fmt.Sprintf("cosign %s, bundles %s, %s", c.maker, c.format, software), func(t *testing.T) {
				t.Parallel()
				p := newTravelling(t, software, c.maker, commands[c.maker], c.format)
				p.run(0, "reconcile")
				for _, s := range []*registrytest.Server{p.eu, p.us} {
					name := p.names(s)[0]
					for version, cosign := range commands {
						p.verified(version, cosign, asBundles, "cosign.pub", reconcile.VerdictPredicate, name)
						if way, can := c.makersWay[version]; can {
							p.verified(version, cosign, way, "maker/import.pub", "https://slsa.dev/provenance/v1", name)
						}
					}
					if o := p.assay("verify", name, "--key", "cosign.pub"); o.code != 0 || !strings.Contains(o.stdout, "signed by another key") {
						t.Errorf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
					}
				}

				p.dropCache()
				p.reset()
				if o := p.run(0, "reconcile"); !strings.Contains(o.stdout, "Nothing to do") {
					t.Errorf("afterwards: %s", o.stdout)
				}
				if n := len(p.source.Requests()); n > 0 {
					t.Errorf("%d requests to its source", n)
				}
				p.revoked()
			})
		}
	}
}

// verified expects that a command accepts somebody's signature and attestation.
func (p published) verified(version, cosign string, way []string, key, predicate, name string) {
	p.t.Helper()
	for _, args := range [][]string{{"verify"}, {"verify-attestation", "--type=" + predicate}} {
		if out, err := p.command(cosign, slices.Concat(args, way, []string{"--key=" + key, name})...); err != nil {
			p.t.Errorf("cosign %s %v by %s: %v\n%s", version, args, key, err, out)
		}
	}
}

// revoked revokes the image, and expects that nothing of it is left, whoever signed it.
func (p published) revoked() {
	p.t.Helper()
	other := p.push("api", "1.0", 30)
	p.commit(map[string]string{"api.hcl": p.image("api", "1.0 "+other), "web.hcl": fmt.Sprintf("revoke \"web\" {\n  digest = %q\n  reason = \"CVE-2026-1\"\n}\n", p.digests[0]) + p.image("web")})
	p.run(0, "reconcile")
	for _, s := range []*registrytest.Server{p.eu, p.us} {
		left, err := reader().Attachments(p.t.Context(), reconcile.Image{Repo: s.Repo("approved/web"), Digest: reconcile.MustDigest(p.digests[0])})
		if err != nil || len(left) > 0 || len(recordTags(p.t, s, "approved/web")) > 0 || holds(p.t, s, "approved/web", p.digests[0]) {
			p.t.Errorf("left in %s: %v (%v), %v", s.Host, left, err, recordTags(p.t, s, "approved/web"))
		}
	}
}

// Where nothing travels, what others laid beside a revoked image is left alone, in both formats, also where it lies in one manifest with ours.
func TestRevokingLeavesWhatOthersLaidThere(t *testing.T) {
	for _, software := range registrytest.All {
		t.Run(string(software), func(t *testing.T) {
			w := newWorld(t, software)
			if err := os.Mkdir(filepath.Join(w.dir, "stranger"), 0o700); err != nil {
				t.Fatal(err)
			}
			writeKey(t, filepath.Join(w.dir, "stranger"))
			stranger, err := sign.New(t.Context(), sign.Options{Name: "stranger", Key: filepath.Join(w.dir, "stranger", "cosign.key")})
			if err != nil {
				t.Fatal(err)
			}
			web, api := w.push("web", "1.0", 10), w.push("api", "1.0", 30)
			files := map[string]string{"web.hcl": w.image("web", "1.0 "+web), "api.hcl": w.image("api", "1.0 "+api)}
			w.commit(files)
			w.run(0, "reconcile")
			theirs := map[string]bool{}
			at := reconcile.Image{Repo: w.eu.Repo("approved/web"), Digest: reconcile.MustDigest(web)}
			for _, f := range []reconcile.Format{reconcile.Legacy, reconcile.Bundle} {
				r, err := stranger.Sign(t.Context(), reconcile.Statement{Format: f, Subject: at.Digest, Identity: at.Repo, Time: time.Now()})
				if err == nil {
					err = registry.NewWriter(reader()).Place(t.Context(), r, at.Repo)
				}
				if err != nil {
					t.Fatal(err)
				}
				theirs[string(r.Payload)] = true
			}
			files["web.hcl"] = fmt.Sprintf("revoke \"web\" {\n  digest = %q\n  reason = \"CVE-2026-1\"\n}\n", web) + w.image("web")
			w.commit(files)
			w.run(0, "reconcile")
			left, err := reader().Attached(t.Context(), at)
			if err != nil || len(left) != 2 || holds(t, w.eu, "approved/web", web) {
				t.Errorf("%d records are left (%v)", len(left), err)
			}
			for _, r := range left {
				if !theirs[string(r.Payload)] {
					t.Errorf("one of ours is left: %s", r.Payload)
				}
			}
			if p := w.plan(0); !p.Empty() {
				t.Errorf("left to do: %s", kinds(p))
			}
		})
	}
}
