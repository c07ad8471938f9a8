package catalog

import (
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/assay-oci/assay/reconcile"
)

// The types below are the language. A field's tags say how it is written and documented:
//
//	hcl:"name"            an attribute; hcl:"name,required" must be there; hcl:"name,block" holds nested blocks
//	default:"…" doc:"…"   for the reference
//
// Checks that look at one value belong to its type (values.go); those that look at several stand in check.go.

type scopeBlock struct {
	node
	Level      level    `hcl:"level,required" doc:"How wide the scope is. A scope below another one must be narrower; the root's is the organization."`
	Path       repoPath `hcl:"path" default:"that of the scope around it" doc:"Where the scope publishes: its images go to the registry's prefix, then this path, then the image's repository. It is written whole: paths of nested scopes are not joined."`
	Registries []string `hcl:"registries" default:"those of the scope around it; at the root, all" doc:"The registries that the scope's images go to. A narrower scope can only leave some out."`
	Upstream   bool     `hcl:"upstream_records" default:"false" doc:"Whether what others laid beside an image where it comes from (signatures, attestations, bills of materials) is copied with it when it is admitted. It holds in narrower scopes too, which can't turn it off. The signers must write bundles, or cosign would see those of others in place of ours."`
}

type registryBlock struct {
	node
	Address  reconcile.Prefix `hcl:"address,required" doc:"Everything below this prefix is owned: Assay may tag and delete there. No two registries may overlap."`
	Identity reconcile.Prefix `hcl:"identity" default:"the address" doc:"The canonical name of the prefix in signatures and records. Replicas share one, so that their records are the same."`
	After    afterValue       `hcl:"after" doc:"Staged promotion: an image enters this registry when the other one has held it, signed, for the soak time."`
}

type afterValue struct {
	Registry string        `hcl:"registry,required" doc:"The registry to wait for."`
	Soak     time.Duration `hcl:"soak" default:"\"0s\"" doc:"For how long it must have held the image."`
}

type scannerBlock struct {
	node
	Command  []string         `hcl:"command" doc:"Program and arguments of a scanner that prints the documented JSON. Without it, the label names one that Assay knows: builtin, trivy, grype or osv-scanner."`
	Program  string           `hcl:"program" default:"the label, found on PATH" doc:"The program of a scanner that Assay knows."`
	Version  string           `hcl:"version" default:"any" doc:"The version that the program must have. Another one gives no verdict."`
	Checksum reconcile.Digest `hcl:"checksum" default:"any" doc:"The digest that the program's file must have. Then what runs is a sealed copy of what was checked; another file is not run."`
	Database string           `hcl:"database" default:"the scanner's own, in the user's folder for caches" doc:"The folder with its database, which Assay only reads. A command has it in place of {database}."`
	MaxAge   time.Duration    `hcl:"max_age" default:"72h for trivy, 5 days for grype, 7 days for builtin and osv-scanner, else any" doc:"How old its database may be. An older one gives no verdict."`
	Timeout  time.Duration    `hcl:"timeout" default:"\"10m\"" doc:"For how long one scan may run."`
	Memory   byteSize         `hcl:"memory" default:"\"4GiB\"" doc:"How much memory the program and its children may use together. Linux only."`
	Confined bool             `hcl:"confined" default:"false" doc:"Whether a system that can't confine the program entirely (no network, no files but its own) gives no verdict. Otherwise it is confined as far as the system allows, and what is missing is told."`
}

type signerBlock struct {
	node
	Key     string          `hcl:"key" doc:"A reference to the private key: a file's path, file://, env://, k8s://, awskms://, azurekms://, gcpkms:// or hashivault://. A signer has either a key or a keyless block."`
	Public  publicKey       `hcl:"public_key" doc:"The public half of the key, in PEM, as cosign.pub has it. With it, a plan verifies signatures without the private key. Default: the file beside the key whose name ends in .pub."`
	Formats []signerFormat  `hcl:"formats" default:"[\"legacy\", \"bundle\"]" doc:"How signatures are stored: cosign's legacy tags, Sigstore bundles, or both. Attestations are bundles, and the cosign command reads no legacy signature beside one: with [\"legacy\"] alone there are none, so that images are never judged anew from what is on record, and assay verify finds no chain. Without a key there are bundles only, which is then the default."`
	Retired bool            `hcl:"retired" default:"false" doc:"Whether it signs nothing more. What it signed still counts, and is deleted where another signer has signed the same; then the block can go."`
	Keyless []*keylessBlock `hcl:"keyless,block" doc:"At most one: signs with short-lived certificates of a Sigstore instance, in place of a key."`
}

type keylessBlock struct {
	node
	Issuer        string   `hcl:"issuer,required" doc:"Who vouches for the identity, exactly as certificates name it: \"https://token.actions.githubusercontent.com\"."`
	Subject       string   `hcl:"subject,required" doc:"The identity that certificates must bear, such as a workflow's URL with its branch: exactly, or a regular expression (RE2) between ^ and $, which is matched as a whole."`
	Audience      string   `hcl:"audience" default:"\"sigstore\"" doc:"What identity tokens are asked for, where they are asked for."`
	TrustedRoot   jsonPath `hcl:"trusted_root" default:"that of the public Sigstore instance" doc:"The instance's trusted_root.json, from the block's own folder on."`
	SigningConfig jsonPath `hcl:"signing_config" default:"that of the public Sigstore instance" doc:"The instance's signing_config.json (v0.2), from the block's own folder on: which certificate authority, transparency logs and timestamp authorities sign. It goes with trusted_root."`

	trusted, config string // what the files hold
}

type sigstoreBlock struct {
	node
	TrustedRoot jsonPath `hcl:"trusted_root,required" doc:"The instance's trusted_root.json, from the block's own folder on."`

	trusted string // what the file holds
}

type pruneBlock struct {
	node
	Limit int           `hcl:"limit" default:"10" doc:"The most images that one run may take tags or content from. With 0, nothing is removed."`
	Grace time.Duration `hcl:"grace" default:"\"168h\"" doc:"For how long an image must have been absent from the catalog before it is deleted."`
}

type rescanBlock struct {
	node
	Interval time.Duration `hcl:"interval" default:"\"24h\"" doc:"How old a scan may be before it is made anew: from the stored inventory, without the image's content, where the scanner can do that."`
	Expires  time.Duration `hcl:"expires" default:"\"720h\"" doc:"How old an attested scan or verdict may become. It is renewed before, even if it says the same."`
}

type gateBlock struct {
	node
	Mode       gateMode   `hcl:"mode,required" doc:"How an approval is verified. \"reviews\": a pull request brought the entry in, and at its merged head a code owner had approved it (where CODEOWNERS names none, somebody who may write). \"rules\": the same, but that a code owner had to approve is left to the branch's rules, so nobody's team has to be read; who of the approvers is the owner isn't known then. \"off\": it isn't."`
	Baseline   commitName `hcl:"baseline" doc:"The commit up to which entries count as approved: the one at which the gate was introduced, looked at by its reviewers. An entry that was taken out and came back later is no longer older."`
	Repository forgeRepo  `hcl:"repository" default:"that of the catalog's URL, else of the workflow" doc:"The catalog's repository at the forge."`
}

type policyBlock struct {
	node
	Rules []*ruleBlock `hcl:"rule,block" doc:"A rule and its parameters; see the reference of the rules. Here expressions are allowed where the rule says so."`
}

// ruleBlock's body belongs to the rule's decoder.
type ruleBlock struct {
	node
	rule reconcile.Bound // its Rule is nil where it could not be decoded
}

type imageBlock struct {
	node
	Source     reconcile.Repo  `hcl:"source,required" doc:"Where the image comes from."`
	Repository repoPath        `hcl:"repository" default:"the label" doc:"Where it goes, below the registry's prefix and the scope's path."`
	Owner      string          `hcl:"owner" doc:"Who answers for it."`
	Purpose    string          `hcl:"purpose" doc:"What it is for, in one line."`
	ReviewBy   date            `hcl:"review_by" doc:"When the approval must be looked at again."`
	Registries []string        `hcl:"registries" default:"those of its scope" doc:"The registries that it goes to, of those that its scope allows."`
	Versions   []*versionBlock `hcl:"version,block" doc:"An approved version; its label is its tag."`
}

type versionBlock struct {
	node
	Digest  reconcile.Digest `hcl:"digest,required" doc:"What is approved: the image or index, byte for byte."`
	Tags    []reconcile.Tag  `hcl:"tags" default:"[]" doc:"Further tags. They move with the catalog; each move is a finding in the plan."`
	Mutable bool             `hcl:"mutable" default:"false" doc:"Whether the version's own tag may move to another digest."`
}

type revokeBlock struct {
	node
	Digest      reconcile.Digest `hcl:"digest,required" doc:"What must not exist."`
	Reason      string           `hcl:"reason,required" doc:"Why, for those who used it."`
	Replacement string           `hcl:"replacement" doc:"The version to move to."`
	Repository  repoPath         `hcl:"repository" default:"the image's, or the label" doc:"Where it is, for an image that is no longer in the catalog."`
}

type waiverBlock struct {
	node
	Rule          string           `hcl:"rule,required" doc:"The rule that it is an exception from."`
	Image         string           `hcl:"image" default:"all images of the scope" doc:"The image's label."`
	Digest        reconcile.Digest `hcl:"digest" default:"all digests" doc:"One digest alone."`
	Package       string           `hcl:"package" default:"all packages" doc:"One package alone, by its name, or by its package URL with or without a version."`
	Justification justification    `hcl:"justification" doc:"Why the image is not affected. Leave it out where it is, and the risk is accepted."`
	Reason        string           `hcl:"reason,required" doc:"Why, in your own words."`
	Expires       date             `hcl:"expires,required" doc:"The last day on which it counts (UTC)."`
}

type vexBlock struct {
	node
	File    jsonPath `hcl:"file,required" doc:"The document, from the block's own folder on: \"vex/nginx.json\"."`
	Author  string   `hcl:"author" default:"anyone" doc:"Who must have written it, as its field author says."`
	Image   string   `hcl:"image" default:"all images of the scope" doc:"The label of the one image that it may excuse."`
	Expires date     `hcl:"expires,required" doc:"The last day on which it counts (UTC)."`

	content string             // of the file; for telling whether it has changed
	waivers []reconcile.Waiver // what it excuses
	broken  *hcl.Diagnostic    // why it excuses nothing
}

// A blockType is one kind of block at the top of a file.
type blockType struct {
	name    string
	label   string // what its label is; empty for none
	body    any
	where   string
	doc     string
	example string
}

// blockTypes are the language, in the order of the reference.
var blockTypes = []blockType{
	{"scope", "name", scopeBlock{}, "at most one in a folder; the root must have one",
		"Makes the folder a scope: a part of the organization with its own policy, path and owners. A folder without one belongs to the scope around it. Whoever may write in a folder without its own scope writes for the scope around it, waivers included.",
		exampleScope},
	{"registry", "name", registryBlock{}, "in the organization's scope", "A place that Assay owns below a prefix.", exampleRegistry},
	{"scanner", "name", scannerBlock{}, "in the organization's scope",
		"A scanner to run on each image. Without any, the scanner \"builtin\" runs where a rule needs scans, and nothing is scanned where none does.", exampleScanner},
	{"signer", "name", signerBlock{}, "in the organization's scope", "A key, or an identity without one, that signs what is approved.", exampleSigner},
	{"sigstore", "name", sigstoreBlock{}, "in the organization's scope",
		"A private Sigstore instance: whose certificates count in rules that name it, as in keyless { sigstore = \"acme\" … }. Without it, those of the public instance do.", exampleSigstore},
	{"prune", "", pruneBlock{}, "at most one, in the organization's scope",
		"Lets Assay delete what is absent from the catalog. Without it, absent images keep their content, and the limit is 10.", examplePrune},
	{"rescan", "", rescanBlock{}, "at most one, in the organization's scope",
		"How long evidence counts. Without it, an approved image is judged by what was found when it was admitted.", exampleRescan},
	{"gate", "", gateBlock{}, "at most one, in the organization's scope",
		"Whether the approval of what is to be admitted is verified at the forge. The rule \"approval\" judges what it finds. Without it, nobody is asked.", exampleGate},
	{"policy", "name", policyBlock{}, "in any folder",
		"Rules that bind the images of its folder and of all folders below. A narrower policy can only add rules.", examplePolicy},
	{"image", "name", imageBlock{}, "in any folder",
		"An image and its approved versions. The label is unique in the whole catalog.", exampleImage},
	{"revoke", "image", revokeBlock{}, "in any folder",
		"A digest that must not exist: it is deleted from every registry.", exampleRevoke},
	{"waiver", "finding", waiverBlock{}, "in any folder",
		"A reviewed exception. The label is the identifier of the finding, such as a CVE, or \"*\" for all. It binds rules of its own scope or narrower ones, and counts once it is merged.", exampleWaiver},
	{"vex", "name", vexBlock{}, "in any folder",
		"An OpenVEX document (v0.2.0) that is trusted for the images of its scope: vulnerabilities that it calls not_affected or fixed are waived from the rule \"vulnerabilities\" in its scope and narrower ones. " +
			"Its products are images by digest (pkg:oci/nginx@sha256:…), images by label (nginx), or packages (pkg:npm/lodash@4.17.4). One mistake in it, and it excuses nothing. It counts once it is merged.", exampleVEX},
}
