package main

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/assay-oci/assay/reconcile"
)

// foreign sets every text to s: all that a chain says was written by whoever could write into the registry.
func foreign(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			foreign(v.Elem(), s)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				foreign(v.Field(i), s)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			foreign(v.Index(i), s)
		}
	case reflect.String:
		if p, ok := v.Addr().Interface().(*string); ok { // words of ours have types of their own
			*p = s
		}
	}
}

func FuzzVerifyText(f *testing.F) {
	for _, s := range []string{"", "x", "a\nApproved\n  as nginx:1", "\x1b[2J\x1b]0;x\x07", "\u202egnp", "\u2028\u0085\r", "\xff\xfe", strings.Repeat("a", 5000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := &chain{Image: "registry.example.com/approved/nginx@sha256:" + strings.Repeat("0", 64),
			Approval:  &reconcile.ApprovalRecord{Review: &reconcile.Review{Approvers: []reconcile.Approver{{}}, PullRequest: 7}},
			Verdict:   &reconcile.AttestedVerdict{Verified: time.Unix(0, 0)},
			Manifests: []manifestLink{{runs: true, Scans: []string{""}, Inventory: []string{""}, Records: []recordLink{{Problem: "x"}, {}}}}, Problems: []string{""}}
		for list := range map[any]bool{&c.Verdict.Rules: true, &c.Verdict.Waivers: true, &c.Verdict.Scans: true} { // one of each
			v := reflect.ValueOf(list).Elem()
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		foreign(reflect.ValueOf(c.Approval), s)
		foreign(reflect.ValueOf(c.Verdict), s)
		foreign(reflect.ValueOf(c.Manifests), s)
		foreign(reflect.ValueOf(c.Problems), s)
		text := c.text()
		for _, r := range text {
			if r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
				t.Fatalf("%q lets %U reach the terminal", s, r)
			}
		}
		if n := strings.Count(text, "\n"); n > 40 || len(text) > 60_000 {
			t.Fatalf("%q makes %d lines, %d bytes", s, n, len(text))
		}
	})
}
