package reconcile

import (
	"strings"
	"testing"
)

func TestAnIdentityMatchesAsAWhole(t *testing.T) {
	const issuer = "https://issuer.example.com"
	for _, c := range []struct {
		subject, identity string
		want              bool
	}{
		{"a@example.com", "a@example.com", true},
		{"a@example.com", "aa@example.com", false},
		{"a.example.com", "axexample.com", false}, // no expression
		{`^.*@example\.com$`, "a@example.com", true},
		{`^.*@example\.com$`, "a@example.com.evil.org", false},
		{`^a|b$`, "a", true},
		{`^a|b$`, "b", true},
		{`^a|b$`, "a and anything", false},
		{`^a|b$`, "anything and b", false},
		{`^a$`, "a\n", false},
		{`(?m)^a$`, "a", false}, // begins with no ^, so it is no expression
		{`^(?m:^a$)$`, "b\na", false},
		{`^a)|(?:b$`, "ab", false},
		{`^a`, "a", false},
		{`a$`, "a", false},
		{`^$`, "", false},
		{"", "", false},
		{"^" + strings.Repeat("a", 2000) + "$", strings.Repeat("a", 2000), false},
		{"^.*$", strings.Repeat("a", 5000), false},
	} {
		if got := (Trust{Issuer: issuer, Subject: c.subject}).Matches(issuer, c.identity); got != c.want {
			t.Errorf("%q matches %q: %t", c.subject, c.identity, got)
		}
	}
	if (Trust{Issuer: issuer, Subject: "a"}).Matches(issuer+"/", "a") || (Trust{Subject: "a"}).Matches("", "a") {
		t.Error("another issuer matches")
	}
}

func TestAnIdentityThatCouldMatchTooMuchIsRefused(t *testing.T) {
	for _, subject := range []string{"", "^a", "a$", "^($", "^a)|(b$", "^a{2000}$", "^" + strings.Repeat("a", 2000) + "$"} {
		if err := (Trust{Issuer: "https://issuer.example.com", Subject: subject}).CheckIdentity(); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.20q: %v", subject, err)
		}
	}
}
