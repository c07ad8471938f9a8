package sign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/assay-oci/assay/reconcile"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/sigstore/cosign/v2/pkg/types"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

const (
	statementType  = "https://in-toto.io/Statement/v1" // in-toto attestation framework, statement v1
	creator        = "assay"
	timestampField = "timestamp"
	aboutField     = "about"
)

// An inToto is a statement of the in-toto attestation framework v1. It is our own type, since the framework's Go types write counts as
// strings. A signature is a statement too, of cosign's predicate type and with an empty predicate.
type inToto struct {
	Type          string          `json:"_type"`
	Subject       []resource      `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// A resource is an in-toto ResourceDescriptor. Its annotations are where the cosign command, too, puts what else a signature says.
type resource struct {
	Name        string            `json:"name,omitempty"` // the image's canonical name
	Digest      map[string]string `json:"digest"`         // algorithm to hexadecimal digits
	Annotations map[string]any    `json:"annotations,omitempty"`
}

// checkStatement refuses what could be signed but not be read back.
func checkStatement(s reconcile.Statement) error {
	switch {
	case s.Subject.IsZero():
		return errors.New("the statement has no subject")
	case s.Identity.IsZero():
		return errors.New("the statement has no identity")
	case s.Time.IsZero() || s.Time.Unix() <= 0:
		return errors.New("the statement has no time")
	case s.Format != reconcile.Legacy && s.Format != reconcile.Bundle:
		return fmt.Errorf("%q is not a format of records", s.Format)
	case s.PredicateType == types.CosignSignPredicateType:
		return errors.New("an attestation can't have the predicate type of signatures")
	case s.PredicateType == "" && (s.Predicate != "" || s.About != ""):
		return errors.New("a signature has no predicate")
	case s.PredicateType != "" && s.Format != reconcile.Bundle:
		return errors.New("attestations are written as bundles only")
	case s.PredicateType != "" && !isObject(s.Predicate):
		return errors.New("the predicate is not a JSON object")
	}
	return nil
}

// legacyPayload makes what a signature in cosign's first format signs. The time is a number of seconds, as containers-signature(5) has it:
// podman and skopeo refuse anything else there.
func legacyPayload(s reconcile.Statement) ([]byte, error) {
	image, err := name.NewDigest(s.Identity.String() + "@" + s.Subject.String())
	if err != nil {
		return nil, err
	}
	return payload.Cosign{
		Image:           image,
		ClaimedIdentity: s.Identity.String(),
		Annotations:     map[string]any{"creator": creator, timestampField: s.Time.Unix()},
	}.MarshalJSON()
}

// readLegacyPayload fills a statement from a payload whose signature and digest were verified.
func readLegacyPayload(s *reconcile.Statement, b []byte) error {
	var p payload.SimpleContainerImage
	if err := json.Unmarshal(b, &p); err != nil {
		return errors.New("malformed: the payload is not a signature's JSON")
	}
	if p.Critical.Type != payload.CosignSignatureType {
		return errors.New("not a signature: the payload is of another type")
	}
	return readClaims(s, p.Critical.Identity.DockerReference, p.Optional)
}

// bundlePayload makes the in-toto statement that a bundle signs.
func bundlePayload(s reconcile.Statement) ([]byte, error) {
	st := inToto{
		Type: statementType,
		Subject: []resource{{
			Name:        s.Identity.String(),
			Digest:      map[string]string{s.Subject.Algorithm(): s.Subject.Hex()},
			Annotations: map[string]any{timestampField: s.Time.Unix()},
		}},
		PredicateType: types.CosignSignPredicateType,
		Predicate:     json.RawMessage("{}"),
	}
	if s.PredicateType != "" {
		st.PredicateType, st.Predicate = s.PredicateType, json.RawMessage(s.Predicate)
	}
	if s.About != "" {
		st.Subject[0].Annotations[aboutField] = s.About
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // a predicate keeps its own spelling
	if err := enc.Encode(st); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// readBundlePayload fills a statement from an in-toto statement whose signature was verified. It must be about the one digest.
func readBundlePayload(s *reconcile.Statement, b []byte) error {
	var st inToto
	if err := json.Unmarshal(b, &st); err != nil {
		return errNoStatement
	}
	if st.Type != statementType {
		return errors.New("not an in-toto statement of version 1")
	}
	if st.PredicateType == "" {
		return errors.New("malformed: the statement has no predicate type")
	}
	if st.PredicateType != types.CosignSignPredicateType {
		s.PredicateType, s.Predicate = st.PredicateType, string(st.Predicate)
		if !isObject(s.Predicate) {
			return errors.New("malformed: the attestation has no predicate")
		}
	}
	if len(st.Subject) != 1 || len(st.Subject[0].Digest) != 1 {
		return errors.New("about several digests, where one was expected")
	}
	subject := st.Subject[0]
	if found := subject.Digest[s.Subject.Algorithm()]; found != s.Subject.Hex() {
		return fmt.Errorf("about another digest, not %s", s.Subject.Short())
	}
	if about, ok := subject.Annotations[aboutField].(string); ok && s.PredicateType != "" {
		s.About = about
	}
	return readClaims(s, subject.Name, subject.Annotations)
}

func readClaims(s *reconcile.Statement, identity string, claims map[string]any) error {
	if identity == "" {
		return errors.New("it does not say of which image it speaks")
	}
	repo, err := reconcile.ParseRepo(identity)
	if err != nil {
		return errors.New("the image of which it speaks is not named as a repository")
	}
	s.Identity = repo
	if seconds, ok := claims[timestampField].(float64); ok && seconds > 0 && seconds < 1<<40 {
		s.Time = time.Unix(int64(seconds), 0).UTC()
	}
	return nil
}

// isObject tells one whole JSON object from anything else.
func isObject(s string) bool {
	dec := json.NewDecoder(strings.NewReader(s))
	var m map[string]json.RawMessage
	if err := dec.Decode(&m); err != nil || m == nil {
		return false
	}
	_, err := dec.Token()
	return err == io.EOF
}
