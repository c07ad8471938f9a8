package builtin

import (
	"strings"
	"testing"

	expr "github.com/assay-oci/assay/reconcile/spdx"
)

func TestLicencesBecomeSPDXExpressions(t *testing.T) {
	for text, want := range map[string]string{
		"MIT":                                   "MIT",
		"mit":                                   "MIT",
		"  MIT\n AND  ISC":                      "MIT AND ISC",
		"(MIT OR Apache-2.0)":                   "MIT OR Apache-2.0",
		"MIT/Apache-2.0":                        "MIT OR Apache-2.0",
		"MIT AND MIT AND (MIT)":                 "MIT",
		"MIT AND (ISC OR Zlib)":                 "MIT AND (ISC OR Zlib)",
		"GPL-2.0 OR MIT AND ISC":                "GPL-2.0-only OR (MIT AND ISC)",
		"GPL-2.0+ WITH Classpath-exception-2.0": "GPL-2.0-or-later WITH Classpath-exception-2.0",
		// Debian
		"Expat":                         "MIT",
		"GPL-2+":                        "GPL-2.0-or-later",
		"GPL-3":                         "GPL-3.0-only",
		"LGPL-2.1+ or MPL-1.1":          "LGPL-2.1-or-later OR MPL-1.1",
		"GPL-2+ with OpenSSL exception": "LicenseRef-GPL-2-with-OpenSSL-exception",
		"public-domain":                 "LicenseRef-public-domain",
		"GPL-2+, and BSD-3-clause":      "GPL-2.0-or-later AND BSD-3-Clause",
		// Fedora and Red Hat
		"GPLv2+ and LGPLv2 and MIT":             "GPL-2.0-or-later AND LGPL-2.0-only AND MIT",
		"ASL 2.0":                               "Apache-2.0",
		"GPL+ or Artistic":                      "LicenseRef-GPL OR Artistic-1.0-Perl",
		"(MPLv2.0 or GPLv3+) and Public Domain": "(MPL-2.0 OR GPL-3.0-or-later) AND LicenseRef-Public-Domain",
		// Alpine, before and after it took up SPDX
		"GPL-2.0-only BSD-2-Clause": "GPL-2.0-only AND BSD-2-Clause",
		"GPL2+":                     "GPL-2.0-or-later",
		// Python, Java, R
		"Apache License, Version 2.0":                     "Apache-2.0",
		"BSD 3-Clause License":                            "BSD-3-Clause",
		"GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
		"GPL (>= 2)": "GPL-2.0-or-later",
		// what says nothing, and what nobody knows
		"":                                "",
		"UNKNOWN":                         "",
		"SEE LICENSE IN LICENSE.md":       "",
		"UNLICENSED":                      "LicenseRef-UNLICENSED",
		"Acme <b>licence</b> v1":          "LicenseRef-Acme-b-licence-b-v1",
		"LicenseRef-acme":                 "LicenseRef-acme",
		"MIT AND":                         "LicenseRef-MIT-AND",
		"(MIT":                            "LicenseRef-MIT",
		"!!!":                             "",
		strings.Repeat("x", maxLicense+1): "",
		strings.Repeat("(", 40) + "MIT" + strings.Repeat(")", 40): "LicenseRef-MIT",
	} {
		if got := spdx(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestLicencesOfOnePackageAreJoined(t *testing.T) {
	if got := spdxAll([]string{"MIT", "GPL-2 or Artistic-2", "MIT", "unknown"}); got != "MIT AND (GPL-2.0-only OR Artistic-2.0)" {
		t.Errorf("all: %q", got)
	}
	if got := spdxAny([]string{"MIT", "Ruby and Zlib"}); got != "MIT OR (Ruby AND Zlib)" {
		t.Errorf("any: %q", got)
	}
	if got := spdxAll(nil); got != "" {
		t.Errorf("none: %q", got)
	}
}

func FuzzLicense(f *testing.F) {
	for _, s := range []string{"MIT", "(GPL-2+ or Artistic), and Expat", "GPLv2+ with exceptions", "a/b c", "((((", "LicenseRef-x AND and or with"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := spdx(s)
		if got == "" {
			return
		}
		e, err := expr.Parse(got)
		if err != nil {
			t.Fatalf("%q became %q, which is no expression: %v", s, got, err)
		}
		for _, l := range e.Licenses() {
			if !l.Known && !strings.HasPrefix(l.ID, "LicenseRef-") {
				t.Errorf("%q became %q, in which %q is on no list", s, got, l.ID)
			}
		}
		if again := spdx(got); again != got {
			t.Errorf("%q became %q, and that %q", s, got, again)
		}
	})
}
