package reconcile

import (
	"strings"
	"time"
)

// Desired is what a catalog asks for at one commit. The order of its slices means nothing.
type Desired struct {
	Catalog    string        // the catalog's repository, as people name it: a URL without credentials; empty if it has none
	Commit     string        // hexadecimal object name of the catalog's commit; empty for a working tree
	Registries []Registry    // the places that the reconciler owns
	Wants      []Want        // every approved version
	Revoked    []Revocation  // digests that must not exist
	Replaced   []Want        // versions that a pull request takes out: what it brings in is compared with them
	Waivers    []Waiver      // reviewed exceptions
	Scanners   []ScannerSpec // empty: nothing is scanned
	Signers    []SignerSpec  // empty: nothing is signed
	Prune      Prune
	Rescan     Rescan
	Gate       Gate
	Elsewhere  int       // versions left out because nothing about them has changed; see Changed
	Changes    []Finding // changes of policy that a pull request makes
	Warnings   []Finding // what the catalog's author should know, and what blocks nothing
	Broken     []Finding // entries that could not be read; they were left out, and while there is one nothing is removed

	Instances map[string]string // trusted roots (JSON) of Sigstore instances whose certificates rules believe, by their names

	UpstreamRecords bool // whether the catalog has a scope whose images bring others' records along: then whatever lies beside an image goes with it
}

// A Registry is a place that the reconciler owns: everything below its prefix.
type Registry struct {
	Name     string
	Prefix   Prefix
	Identity Prefix // canonical name in signatures and records; equals Prefix where the catalog names none
	After    After  // staged promotion; zero for none
}

// After makes a registry wait for another one: an image enters when the other registry has held it, signed, for Soak.
type After struct {
	Registry string
	Soak     time.Duration
}

// A Want is one version of an image that the catalog approves.
type Want struct {
	Name    string // the image's label
	Version string // the version's label, which is also the first of Tags
	From    Image  // where it comes from
	To      []Target
	Tags    []Tag   // all the tags that it shall have, the version's own first
	Mutable bool    // whether the version's own tag may move to another digest
	Scope   string  // the folder of the narrowest scope; "" is the organization's
	Rules   []Bound // the rules of every enclosing scope
	Owner   string
	Purpose string
	Review  time.Time // when the approval must be looked at again; zero for never
	Origin  Origin
	// Proposed says that a pull request brings the version in: it is judged even where no registry tells whether it holds it, as where there is no credential.
	Proposed bool

	UpstreamRecords bool // whether what others laid beside the image where it comes from travels with it

	unlisted bool // the catalog doesn't name it; it was found in a registry
}

// A Target is where a Want goes.
type Target struct {
	Registry string // the registry's name
	Repo     Repo
	Identity Repo // the canonical name of Repo in records
}

// A Revocation names a digest that must not exist, and the repositories that must not hold it.
type Revocation struct {
	Name        string
	Digest      Digest
	Repos       []Repo
	From        Repo // the image's source, if the catalog still names it
	Reason      string
	Replacement string // the version to move to, if any
	Origin      Origin
}

// A Waiver is a reviewed exception. It binds rules of its own scope or narrower ones.
type Waiver struct {
	ID            string // the identifier of the findings that it covers, such as a CVE; "*" covers all
	Rule          string // the rule's name
	Image         string // the image's label; empty for all images of the scope
	Digest        Digest // zero for all digests
	Package       string // empty for all packages
	Justification string // one of OpenVEX's justifications
	Reason        string
	Expires       time.Time
	Scope         string // folder
	Origin        Origin
}

// ScannerSpec says which scanner to run. Command is empty for one that Assay knows by name.
type ScannerSpec struct {
	Name     string
	Command  []string      // program and arguments of a scanner that prints the documented JSON
	Program  string        // the program of a scanner that Assay knows; empty: its name, found on PATH
	Version  string        // that it must have; empty for any
	Checksum Digest        // of the program's file; zero for any
	Database string        // the folder with its database; empty: the scanner's own
	MaxAge   time.Duration // how old its database may be; zero: the scanner's default
	Timeout  time.Duration
	Memory   int64 // bytes that it may use; zero: the adapter's default
	Confined bool  // whether it gives no verdict where the system can't confine it entirely
	Origin   Origin
}

// SignerSpec says with which key or as whom to sign, and in which formats.
type SignerSpec struct {
	Name      string
	Key       string  // a reference to the private key; empty for a keyless signer
	PublicKey string  // PEM; empty if it is to be found beside the private key
	Keyless   Keyless // zero for a signer with a key
	Formats   []Format
	Retired   bool // it signs nothing more; its records go once those of the others are there
	Origin    Origin
}

// Prune bounds removal.
type Prune struct {
	Absent bool          // whether what is absent from the catalog is deleted after Grace
	Limit  int           // the most images that one run may take tags or content from
	Grace  time.Duration // how long an image must have been absent from the catalog
}

// Rescan bounds the age of evidence about images that the registries hold.
type Rescan struct {
	Interval time.Duration // a scan that is older is made anew, from the attested inventory where the scanner can; zero: scans don't age
	Expires  time.Duration // an attested scan is replaced when it is this old, even if it found the same; zero: never
}

// Gate says how approvals are verified at the forge. Its zero value is off.
type Gate struct {
	Mode       GateMode
	Baseline   string // the commit up to which entries count as approved; empty for none
	Repository string // the catalog's, "owner/name"; empty: where its URL says
}

// GateMode is a way to verify approvals.
type GateMode string

// The modes of the gate.
const (
	GateOff     GateMode = "off"
	GateRules   GateMode = "rules"   // the branch's rules see to it that a code owner approved
	GateReviews GateMode = "reviews" // the reviews themselves are read
)

// Origin is a place in the catalog.
type Origin struct {
	File string `json:"file,omitempty"` // relative to the catalog, with slashes
	Line int    `json:"line,omitempty"` // from 1
}

// Title names the version for people: "nginx:1.27.3".
func (w Want) Title() string { return w.Name + ":" + w.Version }

// encloses tells whether the scope in folder outer is the one in folder inner or lies around it.
func encloses(outer, inner string) bool {
	return outer == "" || outer == inner || strings.HasPrefix(inner, outer+"/")
}
