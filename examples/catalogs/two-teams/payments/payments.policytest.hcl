# What the policies of payments are meant to do. Run: assay policy test examples/catalogs/two-teams

test "an image as it should be is admitted" {
  now = "2026-11-21"

  image "ledger" {
    version   = "4.3.1"
    source    = "ghcr.io/acme/ledger"
    owner     = "@acme/payments"
    review_by = "2027-05-01"

    platform "linux/amd64" {
      config {
        user = "65532"
      }

      scan "trivy" {
        database      = "2026-11-20"
        packages_seen = 120
      }

      scan "grype" {
        database      = "2026-11-20"
        packages_seen = 118
      }
    }
  }

  expect {
    verdict = "admitted"
    only    = true
  }
}

test "root is refused, whatever else is well" {
  now = "2026-11-21"

  image "ledger" {
    source    = "ghcr.io/acme/ledger"
    owner     = "@acme/payments"
    review_by = "2027-05-01"

    platform "linux/amd64" {
      scan "trivy" {
        database      = "2026-11-20"
        packages_seen = 120
      }

      scan "grype" {
        database      = "2026-11-20"
        packages_seen = 118
      }
    }
  }

  expect {
    verdict = "blocked"
    only    = true

    finding {
      rule = "condition"
    }
  }
}

test "the waiver covers its package until it expires, and no other" {
  now = "2026-11-21"

  image "ledger" {
    source    = "ghcr.io/acme/ledger"
    owner     = "@acme/payments"
    review_by = "2027-05-01"

    platform "linux/amd64" {
      config {
        user = "65532"
      }

      scan "trivy" {
        database = "2026-11-20"

        vulnerability "CVE-2026-4321" {
          package  = "zlib1g"
          version  = "1:1.2.13.dfsg-1"
          purl     = "pkg:deb/debian/zlib1g@1.2.13.dfsg-1?epoch=1"
          severity = "critical"
        }

        vulnerability "CVE-2026-4321" {
          package  = "minizip"
          version  = "1:1.2.13.dfsg-1"
          purl     = "pkg:deb/debian/minizip@1.2.13.dfsg-1?epoch=1"
          severity = "critical"
          fixed_in = ["1:1.3"]
        }
      }

      scan "grype" {
        database      = "2026-11-20"
        packages_seen = 118
      }
    }
  }

  expect {
    verdict = "blocked"
    only    = true

    finding {
      rule    = "vulnerabilities"
      id      = "CVE-2026-4321"
      package = "pkg:deb/debian/minizip"
    }
  }
}

test "without a verdict nothing is admitted" {
  now = "2026-11-21"

  image "ledger" {
    source    = "ghcr.io/acme/ledger"
    owner     = "@acme/payments"
    review_by = "2027-05-01"

    platform "linux/amd64" {
      config {
        user = "65532"
      }

      scan "trivy" {
        no_verdict = "its database is too old"
      }

      scan "grype" {
        no_verdict = "it is not installed"
      }
    }
  }

  expect {
    verdict = "blocked"

    finding {
      rule    = "vulnerabilities"
      id      = "no-verdict"
      unknown = true
    }

    finding {
      rule = "scanners"
      id   = "too-few-scanners"
    }
  }
}
