package reconcile

import (
	"context"
	"errors"
	"time"
)

// Errors that adapters return, wrapped, so that the core can tell them from trouble.
var (
	ErrNotFound    = errors.New("not found")                     // the registry answered that there is no such thing
	ErrUnsupported = errors.New("not supported by the registry") // the registry can't do this, now or later
	ErrUnavailable = errors.New("not available")                 // history that was not fetched and can't be had
)

// Holdings reads what a registry holds. Each method gives the whole answer or an error: a list that could not be read to its end
// is an error. All methods may be called concurrently.
type Holdings interface {
	// Repos lists the repositories below a prefix.
	Repos(context.Context, Prefix) ([]Repo, error)
	// Tags lists the tags of a repository with their digests. Tags of records (see Tag.Subject) are listed with a zero digest.
	// A repository that doesn't exist has no tags and no error.
	Tags(context.Context, Repo) (map[Tag]Digest, error)
	// Has tells whether the repository holds the manifest.
	Has(context.Context, Image) (bool, error)
}

// Content reads the shape of images. A digest that the repository doesn't hold is ErrNotFound.
type Content interface {
	Tree(context.Context, Image) (Tree, error)
}

// Stager fetches one manifest of an image, with all that it names, to the local disk, verified. Each layout is released once, when
// nobody reads it any more: until then it takes room that nothing else can have.
type Stager interface {
	Stage(ctx context.Context, from Image, manifest Digest) (Layout, error)
	Release(Layout) error
}

// Scanner looks for vulnerabilities in an image. A scanner that can't say anything returns a Scan with NoVerdict and no error; an
// error means that it could not be run and may be tried again. Scan may be called concurrently.
type Scanner interface {
	Scan(context.Context, Layout, Image) (Scan, error)
}

// A Rescanner is a Scanner that can judge an inventory of its own again, against newer advisories, without the image's content. The
// answer's Inventory is nil. Rescan may be called concurrently.
type Rescanner interface {
	Scanner
	Rescan(context.Context, Inventory, Image) (Scan, error)
}

// Verifier reads the records about an image (by the image's own digest, not its children's) and verifies each. A record that isn't
// valid is returned with its Problem. An error means unknown, never absent.
type Verifier interface {
	Records(context.Context, Image) ([]Record, error)
}

// Witness reads what others signed about an image where it comes from, and verifies it as one trust demands. An error means unknown, never that there
// is nothing.
type Witness interface {
	Proofs(context.Context, Image, Trust) ([]Proof, error)
}

// Beside lists what anybody has laid beside an image and can be carried elsewhere, by where it lies. An error means unknown, never that there is nothing.
type Beside interface {
	Attachments(context.Context, Image) ([]Attachment, error)
}

// Reviewer asks the forge how the catalog's entry of a version was approved. An error is taken for an unknown review.
type Reviewer interface {
	Review(ctx context.Context, entry Entry) (Review, error)
}

// An Entry is one version in the catalog.
type Entry struct {
	Image   string
	Version string
	Digest  Digest
	Origin  Origin
}

// Historian reads what the catalog approved since a time, from Git. History that can't be had is ErrUnavailable.
type Historian interface {
	History(ctx context.Context, since time.Time) (History, error)
}

// Sensors are all that can be asked. None of them can write to a registry.
type Sensors struct {
	Holdings Holdings
	Content  Content
	Stage    Stager
	Scanners map[string]Scanner
	Records  Verifier
	History  Historian
	Witness  Witness  // nil: nobody is asked
	Reviews  Reviewer // nil: nobody is asked
	Beside   Beside   // nil: nobody is asked
	// Asking, if set, is told of each round of questions before they are asked.
	Asking func([]Question)
}

// Tip reads the commit that the catalog's branch has now.
type Tip interface {
	Tip(context.Context) (string, error)
}

// Copier copies an image with everything below it, by digest, and gives it no tag. What the target holds already is not moved.
type Copier interface {
	Copy(ctx context.Context, from Image, to Repo) (Moved, error)
}

// Moved counts what a copy moved.
type Moved struct {
	Bytes   int64 `json:"bytes"`   // of blobs uploaded
	Blobs   int   `json:"blobs"`   // uploaded
	Mounted int   `json:"mounted"` // blobs that the registry took from another of its repositories
}

// Tagger moves tags. Current returns a zero digest for a tag that doesn't exist. Untag on a registry that can remove a tag only together
// with its digest is ErrUnsupported.
type Tagger interface {
	Current(context.Context, Repo, Tag) (Digest, error)
	Tag(context.Context, Image, Tag) error
	Untag(context.Context, Repo, Tag) error
}

// Deleter deletes one manifest by digest; one that doesn't exist is no error. If subject isn't zero, the manifest is a record about it
// and disappears from the list of that subject's referrers too.
type Deleter interface {
	Delete(ctx context.Context, image Image, subject Digest) error
}

// Signer signs statements with one key.
type Signer interface {
	Sign(context.Context, Statement) (Record, error)
}

// Placer writes records beside images, and reads them back as they lie there, unverified. Withdraw takes one in cosign's first format, by its ID, off an
// image that bears others; one that isn't there is no error.
type Placer interface {
	Withdraw(ctx context.Context, subject Image, record string) error
	Place(ctx context.Context, record Record, to Repo) error
	Attached(context.Context, Image) ([]Record, error)
}

// A Carrier copies what others laid beside an image to another repository that holds the image: manifests that refer to it byte for byte, and what lies
// in a tag next to what lies in that tag there. Carrying what is there already changes nothing.
type Carrier interface {
	Carry(ctx context.Context, from Image, to Repo, what []Attachment) error
}

// Effects are all that Apply can do.
type Effects struct {
	Catalog Tip
	Copier  Copier
	Tagger  Tagger
	Deleter Deleter
	Signers map[string]Signer
	Placer  Placer
	Carrier Carrier // of plans that place what others signed
	// Done, if set, is called after each action, one call at a time.
	Done func(Action, Outcome)
}
