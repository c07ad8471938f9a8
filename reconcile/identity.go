package reconcile

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Bounds of the identities in certificates and of the expressions for them, in bytes.
const (
	maxIdentity   = 4096
	maxExpression = 1024
)

// Keyless is an identity for which a Sigstore instance gives certificates of a few minutes, in place of a key. The zero value is none.
type Keyless struct {
	Issuer        string // of the identity token, exactly, as the certificate names it
	Subject       string // the identity: exactly, or a regular expression between ^ and $
	Audience      string // that the identity token is made for
	TrustedRoot   string // JSON, as Sigstore's trusted_root.json; empty for the public instance
	SigningConfig string // JSON, as Sigstore's signing_config.json; empty for the public instance
}

// Trust is the identity alone.
func (k Keyless) Trust() Trust { return Trust{Issuer: k.Issuer, Subject: k.Subject} }

// CheckIdentity tells why the trust names no identity that a certificate could bear.
func (t Trust) CheckIdentity() error {
	if t.Issuer == "" || len(t.Issuer) > maxIdentity {
		return errors.New("the issuer is missing or too long; it is named exactly, such as \"https://token.actions.githubusercontent.com\"")
	}
	if t.Subject == "" || len(t.Subject) > maxIdentity {
		return errors.New("the subject is missing or too long")
	}
	begins, ends := strings.HasPrefix(t.Subject, "^"), strings.HasSuffix(t.Subject, "$")
	if begins != ends {
		return fmt.Errorf("the subject %q is anchored at one end only; an expression stands between ^ and $", clipped(t.Subject))
	}
	if !begins {
		return nil
	}
	_, err := anchored(t.Subject)
	return err
}

// Matches tells whether a certificate's identity is the one of the trust. One that CheckIdentity refuses matches nothing.
func (t Trust) Matches(issuer, subject string) bool {
	if t.CheckIdentity() != nil || issuer != t.Issuer || subject == "" || len(subject) > maxIdentity {
		return false
	}
	if !strings.HasPrefix(t.Subject, "^") {
		return subject == t.Subject
	}
	e, err := anchored(t.Subject)
	return err == nil && e.MatchString(subject)
}

// anchored compiles an expression so that it matches only the whole: "^a|b$" by itself would match anything that begins with an a.
func anchored(expression string) (*regexp.Regexp, error) {
	if len(expression) > maxExpression {
		return nil, fmt.Errorf("the subject's expression is longer than %d bytes", maxExpression)
	}
	if _, err := regexp.Compile(expression); err != nil { // by itself, so that it can't close the group around it
		return nil, fmt.Errorf("the subject %q is no regular expression: %w", clipped(expression), err)
	}
	return regexp.Compile(`\A(?:` + expression + `)\z`)
}

func clipped(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
