package report

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
)

// Approved is the essence of a plan: what a reviewer saw and approved. It is kept in the pull request's comment, so that what is done after the merge can
// be compared with it. Its text is foreign, to be shown escaped.
type Approved struct {
	Commit string          `json:"commit"`
	Made   time.Time       `json:"made,omitzero"`
	Images []ApprovedImage `json:"images"`
	// Least is the least severity of the vulnerabilities that are listed: where a plan has too many, the lesser ones are left out.
	Least reconcile.Severity `json:"least,omitempty"`
}

// ApprovedImage is what was planned for one image.
type ApprovedImage struct {
	Image           string           `json:"image"` // as rows name it: "nginx:1.27.3", or with a digest for one that goes
	Digest          reconcile.Digest `json:"digest,omitzero"`
	Verdict         string           `json:"verdict"`
	Vulnerabilities []string         `json:"vulnerabilities,omitempty"`
}

// The verdicts on an image, as they are told in a row's place.
const (
	ready     = "ready"
	renewed   = "renewed" // it is approved and there: only its records are made anew
	blocked   = "blocked"
	violating = "in violation"
	revoked   = "revoked"
	removed   = "removed"
)

// Bounds of a trace, and of what is read back of one, which others may have written.
const (
	maxTrace       = 8000      // characters
	maxTraceJSON   = 512 << 10 // bytes
	maxTraceImages = 2000
	maxTraceText   = 500 // bytes of one name in it
)

const traceMark = "assay-trace/v1 "

// approve gives the essence of what a report plans, with the vulnerabilities of at least a severity.
func approve(r reconcile.Report, least reconcile.Severity) Approved {
	a := Approved{Commit: r.Plan.Commit, Made: r.Plan.Made, Images: []ApprovedImage{}, Least: least}
	for _, x := range rows(r) {
		image := ApprovedImage{Image: clip(x.title), Digest: x.digest, Verdict: x.verdict()}
		if x.profile != nil {
			image.Vulnerabilities = identifiers(x.profile.Vulnerabilities, least)
		}
		a.Images = append(a.Images, image)
	}
	return a
}

// identifiers lists the vulnerabilities of at least a severity, each once; sorted.
func identifiers(vs []reconcile.ProfileVulnerability, least reconcile.Severity) []string {
	var out []string
	for _, v := range vs {
		if v.Severity.Rank() >= least.Rank() {
			out = append(out, clip(v.ID))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// clip bounds a text for a trace. Two texts don't become one.
func clip(s string) string {
	if s = strings.ToValidUTF8(s, "\ufffd"); len(s) <= maxTraceText {
		return s
	}
	return fmt.Sprintf("%s…%.6x", strings.ToValidUTF8(s[:maxTraceText-20], ""), sha256.Sum256([]byte(s)))
}

// Trace writes what a report plans in one line that is safe inside an HTML comment, to be kept in the pull request's comment: compressed JSON in base64,
// of at most 8,000 characters. A plan with too many vulnerabilities loses the lesser ones first; it is empty if not even its images fit.
func Trace(r reconcile.Report) string {
	for _, least := range []reconcile.Severity{reconcile.Unknown, reconcile.Medium, reconcile.High, reconcile.Critical} {
		if s := approve(r, least).Trace(); s != "" {
			return s
		}
	}
	a := approve(r, reconcile.Critical)
	for i := range a.Images {
		a.Images[i].Vulnerabilities = nil
	}
	a.Least = none
	return a.Trace()
}

// none is above all severities: no vulnerability is listed.
const none reconcile.Severity = "none"

// Trace writes it in the line that ReadTrace reads; empty if that is longer than 8,000 characters.
func (a Approved) Trace() string {
	if len(a.Images) > maxTraceImages {
		return ""
	}
	data, err := json.Marshal(a)
	if err != nil || len(data) > maxTraceJSON {
		return ""
	}
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return ""
	}
	if _, err := z.Write(data); err != nil {
		return ""
	}
	if err := z.Close(); err != nil {
		return ""
	}
	s := traceMark + base64.StdEncoding.EncodeToString(b.Bytes())
	if len(s) > maxTrace {
		return ""
	}
	return s
}

// ReadTrace finds the trace in a comment, in an HTML comment of its own: of several the first one. The comment is hostile, and what is no sound trace is none.
func ReadTrace(comment string) (Approved, bool) {
	const opening, closing = "<!-- " + traceMark, " -->"
	i := strings.Index(comment, opening)
	if i < 0 {
		return Approved{}, false
	}
	text, _, ok := strings.Cut(comment[i+len(opening):], closing)
	if !ok || len(text) > maxTrace {
		return Approved{}, false
	}
	packed, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return Approved{}, false
	}
	data, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxTraceJSON+1))
	if err != nil || len(data) > maxTraceJSON {
		return Approved{}, false
	}
	var a Approved
	if json.Unmarshal(data, &a) != nil || !a.sound() {
		return Approved{}, false
	}
	return a, true
}

// sound tells whether it is what Trace writes.
func (a Approved) sound() bool {
	if len(a.Commit) > maxTraceText || len(a.Images) > maxTraceImages || a.Least != none && a.Least != reconcile.Unknown && a.Least.Rank() == 0 {
		return false
	}
	for _, x := range a.Images {
		if x.Image == "" || len(x.Image) > maxTraceText || !slices.Contains([]string{ready, renewed, blocked, violating, revoked, removed}, x.Verdict) {
			return false
		}
		if !slices.IsSorted(x.Vulnerabilities) || slices.ContainsFunc(x.Vulnerabilities, func(id string) bool { return len(id) > maxTraceText }) {
			return false
		}
	}
	return true
}
