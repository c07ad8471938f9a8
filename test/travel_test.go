package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assay-oci/assay/reconcile"
	"github.com/assay-oci/assay/reconcile/registry/registrytest"
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
