package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

type provenance struct {
	Builder  string    `hcl:"builder,optional" default:"any" doc:"The builder's identifier: exactly, or a regular expression between ^ and $, which must match all of it."`
	Source   string    `hcl:"source,optional" default:"any" doc:"The repository that it was built from, likewise, without \"git+\", \".git\" and a revision."`
	Level    int       `hcl:"level,optional" default:"2" doc:"The least level of SLSA's build track, from 1 to 3. Provenance that a trusted signer signed has level 2; level 3 only a builder has that hardened names."`
	Hardened []string  `hcl:"hardened,optional" default:"[]" doc:"Builders that you hold to meet level 3, each exactly or as a regular expression between ^ and $: no provenance can prove that of its own builder."`
	Key      string    `hcl:"key,optional" default:"none" doc:"The public key, in PEM, with which the provenance must be signed."`
	Keyless  []keyless `hcl:"keyless,block" doc:"Or who must have signed it with a certificate of Sigstore; where there are several, any of them."`
}

func init() {
	registerTrusting("provenance", "How an image was built, by SLSA provenance (v0.2 or v1) that a trusted signer attached to its index, or to each of its platforms, where it comes from. "+
		"The source is what the builder was told to build, not what else went in: `invocation.configSource` of v0.2, and of v1 the external parameters `workflow.repository`, `source` and "+
		"`configSource`; where several of them are given, each must match.\n\n"+
		"Findings: `no-provenance`, `other-builder`, `other-source`, `low-level`, `unreadable-provenance`; where nobody could look, `no-evidence`.",
		`rule "provenance" {
  builder  = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/v2.1.0"
  source   = "https://github.com/acme/app"
  level    = 3
  hardened = ["^https://github\\.com/slsa-framework/slsa-github-generator/\\.github/workflows/.*$"]

  keyless {
    issuer  = "https://token.actions.githubusercontent.com"
    subject = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_container_slsa3.yml@refs/tags/v2.1.0"
  }
}
`, buildProvenance)
}

func buildProvenance(p provenance, body hcl.Body) (decoded, hcl.Diagnostics) {
	ts, diags := trusted(body, p.Key, p.Keyless)
	diags = append(diags, exactOrAnchored(at(body, "builder"), "builder", p.Builder)...)
	diags = append(diags, exactOrAnchored(at(body, "source"), "source", p.Source)...)
	for _, h := range p.Hardened {
		if h == "" {
			diags = append(diags, mistake(at(body, "hardened"), "Invalid hardened", "An empty text would be any builder."))
		}
		diags = append(diags, exactOrAnchored(at(body, "hardened"), "hardened", h)...)
	}
	if p.Level < 0 || p.Level > 3 {
		diags = append(diags, mistake(at(body, "level"), "Invalid level", "A number from 1 to 3 is needed here."))
	}
	if p.Level == 3 && len(p.Hardened) == 0 {
		diags = append(diags, mistake(at(body, "level"), "Level without a builder", "Level 3 needs hardened, the builders that you hold to meet it: nothing in a provenance proves it."))
	}
	if p.Source != "" && !strings.HasPrefix(p.Source, "^") {
		p.Source = repository(p.Source)
	}
	j := provenanceJudge{matcher(p.Builder), matcher(p.Source), p.Builder, p.Source, p.Level, p.Hardened}
	return decoded{reconcile.ReadsUpstream, func(s reconcile.Subject, _ time.Time) []reconcile.Finding { return j.judge(s, ts) }, ts}, diags
}

type provenanceJudge struct {
	isBuilder, isSource     func(string) bool
	wantBuilder, wantSource string
	level                   int
	hardened                []string
}

func (j provenanceJudge) judge(s reconcile.Subject, ts []reconcile.Trust) []reconcile.Finding {
	if s.Evidence.Tree == nil {
		return notRead()
	}
	proofs, known := proofsBy(s.Evidence.Upstream, ts)
	var good []reconcile.Proof
	var faults []reconcile.Finding
	for _, p := range proofs {
		if !strings.HasPrefix(p.PredicateType, "https://slsa.dev/provenance/") {
			continue
		}
		if f := j.faults(p); len(f) > 0 {
			faults = append(faults, f...)
		} else {
			good = append(good, p)
		}
	}
	switch {
	case covers(s, good):
		return nil
	case !known:
		return []reconcile.Finding{notAsked("how it was built", ts)}
	case len(faults) > 0:
		return once(faults)
	case len(good) > 0:
		return []reconcile.Finding{{ID: "no-provenance", Summary: "not every platform has provenance by " + trustNames(ts), Detail: "take a digest whose index, or each of whose platforms, has it"}}
	}
	return []reconcile.Finding{{ID: "no-provenance", Summary: "at " + s.Want.From.Repo.String() + " it has no SLSA provenance by " + trustNames(ts),
		Detail: "take a digest that has it, on its index or on each platform; or ask for the signer to be allowed"}}
}

// faults is what one provenance lacks.
func (j provenanceJudge) faults(p reconcile.Proof) []reconcile.Finding {
	b, err := readProvenance(p)
	if err != nil {
		return []reconcile.Finding{{ID: "unreadable-provenance", Summary: "its provenance can't be judged: " + err.Error(), Detail: "ask its maker for SLSA provenance v1 of at most 1 MiB"}}
	}
	var out []reconcile.Finding
	if j.wantBuilder != "" && !j.isBuilder(b.builder) {
		out = append(out, reconcile.Finding{ID: "other-builder", Summary: "it was built by " + orNobody(b.builder) + ", not by " + orNobody(j.wantBuilder), Detail: "take a digest that the expected builder made"})
	}
	if j.wantSource != "" && (len(b.sources) == 0 || slices.ContainsFunc(b.sources, func(s string) bool { return !j.isSource(s) })) {
		out = append(out, reconcile.Finding{ID: "other-source", Summary: "it was built from " + orNobody(strings.Join(b.sources, " and ")) + ", not from " + orNobody(j.wantSource), Detail: "take a digest that was built from the expected repository"})
	}
	if level := j.levelOf(b.builder); level < j.level {
		out = append(out, reconcile.Finding{ID: "low-level", Summary: fmt.Sprintf("its provenance has level %d of SLSA's build track; %d is required", level, j.level), Detail: "only builders that the rule names in hardened have level 3"})
	}
	return out
}

// levelOf is what signed provenance can show of its builder.
func (j provenanceJudge) levelOf(builder string) int {
	if slices.ContainsFunc(j.hardened, func(h string) bool { return builder != "" && matcher(h)(builder) }) {
		return 3
	}
	return 2
}

func orNobody(s string) string {
	if s == "" {
		return "somebody or something that it doesn't name"
	}
	return clean(s, 300)
}

// build is what a provenance says of how an image was made.
type build struct {
	builder string
	sources []string
}

// readProvenance reads the predicates of SLSA provenance v0.2 and v1 (https://slsa.dev/spec/v0.2/provenance, https://slsa.dev/spec/v1.1/provenance).
func readProvenance(p reconcile.Proof) (build, error) {
	if p.Predicate == "" {
		return build{}, errors.New("it is too large to be kept")
	}
	switch p.PredicateType {
	case "https://slsa.dev/provenance/v0.2":
		return readProvenance02(p.Predicate)
	case "https://slsa.dev/provenance/v1":
		return readProvenance1(p.Predicate)
	}
	return build{}, fmt.Errorf("%s is of another version than v0.2 and v1", clean(p.PredicateType, 100))
}

func readProvenance02(predicate string) (build, error) {
	var v struct {
		Builder    struct{ ID string }
		Invocation struct{ ConfigSource struct{ URI string } }
	}
	if err := json.Unmarshal([]byte(predicate), &v); err != nil {
		return build{}, errors.New("it is malformed")
	}
	return build{v.Builder.ID, repositories(v.Invocation.ConfigSource.URI)}, nil
}

func readProvenance1(predicate string) (build, error) {
	var v struct {
		BuildDefinition struct {
			ExternalParameters struct {
				Workflow     struct{ Repository string }
				Source       json.RawMessage // a text, or an object with a uri
				ConfigSource struct{ URI string }
			}
		}
		RunDetails struct{ Builder struct{ ID string } }
	}
	if err := json.Unmarshal([]byte(predicate), &v); err != nil {
		return build{}, errors.New("it is malformed")
	}
	e := v.BuildDefinition.ExternalParameters
	source, object := "", struct{ URI string }{}
	if len(e.Source) > 0 && json.Unmarshal(e.Source, &source) != nil {
		if json.Unmarshal(e.Source, &object) != nil {
			return build{}, errors.New("it is malformed")
		}
	}
	return build{v.RunDetails.Builder.ID, repositories(e.Workflow.Repository, source, object.URI, e.ConfigSource.URI)}, nil
}

// repositories are the texts that aren't empty, each once, as repository writes them.
func repositories(uris ...string) []string {
	var out []string
	for _, u := range uris {
		if r := repository(u); r != "" && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// repository is the address of a repository without what provenance adds to it: "git+https://github.com/acme/app.git@refs/tags/v1" is
// "https://github.com/acme/app". What is no address stays as it is.
func repository(uri string) string {
	s := strings.TrimPrefix(uri, "git+")
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil { // a user's name may look like a host
		return uri
	}
	s, _, _ = strings.Cut(s, "#")
	if path := strings.Index(s, u.Host) + len(u.Host); strings.Contains(s[path:], "@") {
		s = s[:path+strings.Index(s[path:], "@")]
	}
	return strings.TrimSuffix(s, ".git")
}
