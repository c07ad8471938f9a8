package reconcile

import (
	"time"
)

// A Tree is the shape of an image: its root manifest and everything below it, by digest. Manifests are in the order in which they
// can be pushed: children before the index that names them, so the root is the last.
type Tree struct {
	Root      Digest
	Manifests []Manifest
}

// A Manifest is one node of a Tree.
type Manifest struct {
	Digest    Digest
	MediaType string
	Size      int64             // bytes of the manifest itself
	Platform  Platform          // of an image's manifest; zero where none is known
	Artifact  string            // the artifact type of something that is no container image, such as an attestation; else empty
	Children  []Digest          // of an index
	Notes     map[string]string // its annotations: its author's words, to be shown escaped
	Blobs     []Blob            // of an image: its configuration first, then its layers
	Config    ConfigInfo        // of a runnable image, where it was read
}

// A Blob is content that a manifest names.
type Blob struct {
	Digest    Digest
	Size      int64 // bytes, compressed as stored
	MediaType string
}

// ConfigInfo is what the configuration of an image says of itself. It is the image author's text, to be shown escaped.
type ConfigInfo struct {
	User       string
	Created    time.Time
	Labels     map[string]string
	Entrypoint []string
	Command    []string
	Env        []string // "NAME=value"
	Ports      []string // exposed ones, such as "80/tcp"; sorted
	Volumes    []string // sorted
	WorkingDir string
}

// Index tells an index from an image's manifest.
func (m Manifest) Index() bool {
	return len(m.Children) > 0 || m.MediaType == ociIndex || m.MediaType == dockerList
}

const (
	ociIndex   = "application/vnd.oci.image.index.v1+json"
	dockerList = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// Runnable returns the manifests of container images: what scanners read and what runs.
func (t Tree) Runnable() []Manifest {
	var out []Manifest
	for _, m := range t.Manifests {
		if !m.Index() && m.Artifact == "" && (m.Platform == (Platform{}) || m.Platform.Runnable()) {
			out = append(out, m)
		}
	}
	return out
}

// Signed returns the digests that a signature must speak about: the root and each runnable image's manifest. (Where only the
// index is signed, registries that enforce signatures refuse its children.)
func (t Tree) Signed() []Digest {
	var out []Digest
	for _, m := range t.Runnable() {
		if m.Digest != t.Root {
			out = append(out, m.Digest)
		}
	}
	return append(out, t.Root)
}

// Bytes returns the size of the blobs, each counted once.
func (t Tree) Bytes() int64 {
	seen := map[Digest]bool{}
	var n int64
	for _, m := range t.Manifests {
		for _, b := range m.Blobs {
			if !seen[b.Digest] {
				seen[b.Digest] = true
				n += b.Size
			}
		}
	}
	return n
}

// A Layout is one image as an OCI image layout (OCI image specification v1.1, "Image Layout") on disk, holding that one manifest.
// Digests of the manifest, the configuration and all layers, and the diffIDs of the layers, were verified before it was handed out.
type Layout struct {
	Dir      string
	Manifest Digest
	Platform Platform
}

// A Scan is what one scanner said about one image's manifest.
type Scan struct {
	Scanner         string          `json:"scanner"`
	Version         string          `json:"version,omitempty"`
	Database        time.Time       `json:"database,omitzero"` // when its database was made; zero if unknown
	Finished        time.Time       `json:"finished,omitzero"`
	Distribution    string          `json:"distribution,omitempty"` // such as "debian:12"; empty if unknown
	Ecosystems      []string        `json:"ecosystems,omitempty"`   // those that its database covers
	Packages        int             `json:"packages"`               // how many it saw
	Vulnerabilities []Vulnerability `json:"vulnerabilities,omitempty"`
	Malware         []Malware       `json:"malware,omitempty"`
	MalwareChecked  bool            `json:"malware_checked,omitempty"` // whether it looked for malware; if not, Malware says nothing
	Support         *Support        `json:"support,omitempty"`         // of the distribution; nil if the scanner doesn't know
	Inventory       *Inventory      `json:"inventory,omitempty"`       // what is installed; nil from a scanner that doesn't list it
	NoVerdict       string          `json:"no_verdict,omitempty"`      // why the scan says nothing; a scan without a verdict never means "clean"
}

// Malware is something harmful in an image.
type Malware struct {
	ID      string `json:"id"` // the scanner's name for it
	Path    string `json:"path,omitempty"`
	Summary string `json:"summary,omitempty"`
}

// Support says until when a distribution's release is maintained by its vendor.
type Support struct {
	Until time.Time `json:"until,omitzero"`  // the last day; zero if only Ended is known, or no end was announced
	Ended bool      `json:"ended,omitempty"` // what the scanner said; where Until is known, that counts
	Data  time.Time `json:"data,omitzero"`   // when the list of dates was made
}

// An Inventory is all that is installed in one image's manifest, without loss: the scanner that made it can judge it again later,
// against newer advisories, without the image's content.
type Inventory struct {
	Lister       string    `json:"lister"`                 // the scanner that made it
	Version      string    `json:"version,omitempty"`      // of the scanner
	Distribution string    `json:"distribution,omitempty"` // such as "debian:12"
	Packages     []Package `json:"packages"`               // sorted; each once
	Native       string    `json:"native,omitempty"`       // the lister's own document, where that is what it reads back
}

// A Vulnerability is one advisory that applies to one package.
type Vulnerability struct {
	ID        string    `json:"id"` // canonical: a CVE where there is one, else a GHSA, else another
	Aliases   []string  `json:"aliases,omitempty"`
	Package   Package   `json:"package"`
	Severity  Severity  `json:"severity"`
	FixedIn   []string  `json:"fixed_in,omitempty"`
	Published time.Time `json:"published,omitzero"`
	FirstSeen time.Time `json:"first_seen,omitzero"` // when it was first found in an image that we hold; zero before it is admitted
	EPSS      float64   `json:"epss,omitempty"`      // probability of exploitation within 30 days, from 0 to 1 (FIRST.org); zero if unknown
	Exploited bool      `json:"exploited,omitempty"` // whether CISA's catalog of known exploited vulnerabilities (KEV) has it
	Summary   string    `json:"summary,omitempty"`
}

// A Package is something installed in an image.
type Package struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Ecosystem string `json:"ecosystem,omitempty"` // as OSV writes it, such as "Debian:12" or "npm"
	PURL      string `json:"purl,omitempty"`
	Source    string `json:"source,omitempty"`  // the source package that it was built from, where its name differs
	License   string `json:"license,omitempty"` // SPDX expression; empty if unknown
	Path      string `json:"path,omitempty"`    // the file in the image that tells of it, relative to its root; never to be opened
	Layer     string `json:"layer,omitempty"`   // diffID of the layer that brought it
}

// Severity is how bad a finding is, in the words that scanners share.
type Severity string

// The severities, from unknown to critical.
const (
	Unknown    Severity = "unknown"
	Negligible Severity = "negligible"
	Low        Severity = "low"
	Medium     Severity = "medium"
	High       Severity = "high"
	Critical   Severity = "critical"
)

// Rank orders severities; unknown is the lowest, and a word that is none of them ranks as unknown.
func (s Severity) Rank() int {
	switch s {
	case Negligible:
		return 1
	case Low:
		return 2
	case Medium:
		return 3
	case High:
		return 4
	case Critical:
		return 5
	}
	return 0
}

// A Finding is one thing to tell a person, from a mistake in the catalog to a CVE.
type Finding struct {
	Rule     string   `json:"rule"`
	Scope    string   `json:"scope,omitempty"` // folder of the scope that the rule belongs to
	Severity Severity `json:"severity,omitempty"`
	ID       string   `json:"id,omitempty"`
	Package  string   `json:"package,omitempty"`
	PURL     string   `json:"purl,omitempty"`   // of the package, where a rule speaks of one
	Summary  string   `json:"summary"`          // what was found, in one sentence
	Detail   string   `json:"detail,omitempty"` // what would satisfy the rule
	Image    string   `json:"image,omitempty"`  // such as "nginx:1.27.3"
	Digest   Digest   `json:"digest,omitzero"`
	Origin   Origin   `json:"origin,omitzero"`
	Unknown  bool     `json:"unknown,omitempty"` // evidence is missing: enough to refuse an image, never a reason to take one away
	Warning  bool     `json:"warning,omitempty"` // the rule only warns, or this finding of it is only to be told
	Pending  bool     `json:"pending,omitempty"` // it will be decided later, as while a pull request is open: told, and blocks nothing
}

// Evidence is what was observed about an image.
type Evidence struct {
	Tree     *Tree // nil if its content was not read
	Scans    []PlatformScan
	Upstream Upstream
	Review   *Review // who approved it; nil if nobody was asked
}

// Trust is whom to believe about an image where it comes from: the holder of a key, or somebody with a certificate of Sigstore.
type Trust struct {
	Key     string `json:"key,omitempty"`     // the public key in PEM; empty for a certificate
	Issuer  string `json:"issuer,omitempty"`  // of the identity in the certificate, exactly
	Subject string `json:"subject,omitempty"` // the identity: exactly, or a regular expression between ^ and $

	Instance string `json:"instance,omitempty"` // of Sigstore, by its name in Desired.Instances; empty: the public one
}

// Upstream is what lies beside an image where it comes from, as far as somebody was asked for whom a rule trusts.
type Upstream struct {
	Asked  []Trust `json:"asked"`  // those whose records were looked for; for others nothing is known
	Proofs []Proof `json:"proofs"` // what they signed, verified
}

// A Proof is a verified record of somebody else about an image or one of its manifests. It is the signer's word, to be shown escaped.
type Proof struct {
	Trust         Trust     `json:"trust"`
	Subject       Digest    `json:"subject"`
	Signer        string    `json:"signer,omitempty"`         // the identity in the certificate; empty for a key
	PredicateType string    `json:"predicate_type,omitempty"` // empty for a signature
	Predicate     string    `json:"predicate,omitempty"`      // JSON
	Time          time.Time `json:"time,omitzero"`
}

// Review is what the forge tells of how the catalog's entry of a version was approved.
type Review struct {
	State       ReviewState `json:"state"`
	Reason      string      `json:"reason,omitempty"` // why it isn't approved, or why that can't be known
	Commit      string      `json:"commit,omitempty"` // the one that brought the entry in
	PullRequest int         `json:"pull_request,omitempty"`
	URL         string      `json:"url,omitempty"`   // of the pull request
	Head        string      `json:"head,omitempty"`  // the commit that was reviewed
	Merge       string      `json:"merge,omitempty"` // the commit that merged it
	Author      string      `json:"author,omitempty"`
	Approvers   []Approver  `json:"approvers,omitempty"`
	Owners      []string    `json:"owners,omitempty"`   // while it is pending: the code owners of the entry's file, as CODEOWNERS writes them
	Baseline    bool        `json:"baseline,omitempty"` // the entry is older than the gate, and rests on the reviewed baseline
}

// An Approver is a person whose last word on a pull request, at its merged head, was an approval.
type Approver struct {
	Login string `json:"login"`
	Owner string `json:"owner,omitempty"` // the code owner that the person is or belongs to, as CODEOWNERS writes it
	Rule  string `json:"rule,omitempty"`  // the pattern in CODEOWNERS
}

// ReviewState is whether an entry was approved.
type ReviewState string

// The states of a review. Only the first is an approval.
const (
	Approved      ReviewState = "approved"
	Pending       ReviewState = "pending" // its pull request is still open
	NotApproved   ReviewState = "not approved"
	UnknownReview ReviewState = "unknown" // the forge could not be asked, or didn't answer
)

// PlatformScan is a Scan of one manifest of an image.
type PlatformScan struct {
	Manifest Digest
	Platform Platform
	Scan     Scan
}

// A Subject is what a rule judges: a version, the other versions of its image, and the evidence.
type Subject struct {
	Want     Want
	Siblings []Want
	Evidence Evidence
	Expected []ScannerSpec // the scanners that the catalog declares
}

// Reads says what a rule's check looks at, and so what must be observed before it is asked.
type Reads int

// What a rule may look at; each includes those before it.
const (
	ReadsDeclaration Reads = iota // the catalog's words alone
	ReadsContent                  // manifests and configuration
	ReadsUpstream                 // what others signed about it where it comes from
	ReadsReview                   // who approved it
	ReadsScans                    // what scanners said
	ReadsInventory                // what is installed, by the inventories in Scan.Inventory
)

// A Rule judges a Subject. Check is pure: the same subject and time give the same findings. No finding means that it is satisfied;
// evidence that is missing is a finding, not a pass.
type Rule interface {
	Name() string
	Reads() Reads
	Check(Subject, time.Time) []Finding
}

// Bound is a rule in its place.
type Bound struct {
	Rule
	Trusts      []Trust       // whose records it judges
	Warn        bool          // what it finds is told, and blocks nothing
	OnViolation Violation     // what becomes of an approved image that newly violates it
	Grace       time.Duration // for Remove: how long the violation must have been on record
	Scope       string        // folder
	Policy      string        // the policy's label
	Origin      Origin
}

// Violation is what becomes of an approved image that the registries hold and that newly violates a rule.
type Violation string

// The ways to treat a violation. In each, nothing new is admitted or signed.
const (
	ReportIt   Violation = "report"     // it is told, and the image stays as it is
	Quarantine Violation = "quarantine" // its tags go; what runs by digest goes on
	Remove     Violation = "remove"     // its tags go, and after the grace period its content
)

// Format is how a record is stored beside an image.
type Format string

// The formats: cosign's first one, in a tag "sha256-<hex>.sig" beside the image, and Sigstore bundles, found as referrers.
const (
	Legacy Format = "legacy"
	Bundle Format = "bundle"
)

// A Statement is what a record says about a digest, before it is signed. An empty PredicateType makes it a signature.
type Statement struct {
	Format        Format    `json:"format"`
	Signer        string    `json:"signer"`
	Subject       Digest    `json:"subject"`
	Identity      Repo      `json:"identity"`        // the image's canonical name
	About         string    `json:"about,omitempty"` // tells attestations of one predicate type apart: the scanner's name
	PredicateType string    `json:"predicate_type,omitempty"`
	Predicate     string    `json:"predicate,omitempty"` // JSON
	Time          time.Time `json:"time"`
}

// A Record is a signed statement as it lies, or will lie, beside an image. It is the same bytes on all registries.
type Record struct {
	Statement   Statement
	MediaType   string            // of Payload
	Payload     []byte            // the one layer of the record
	Annotations map[string]string // those of the layer for Legacy, those of the manifest for Bundle
	At          Digest            // the manifest in which it was found; zero if it was not placed yet
	Problem     string            // why it isn't valid; empty for a verified record
}
