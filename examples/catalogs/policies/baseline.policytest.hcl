test "the OpenVEX document excuses zlib in nginx" {
  now = "2026-11-21"

  image "nginx" {
    review_by = "2027-05-01"

    platform "linux/amd64" {
      scan "builtin" {
        database = "2026-11-20"

        vulnerability "CVE-2026-4321" {
          package  = "zlib1g"
          purl     = "pkg:deb/debian/zlib1g@1.2.13?epoch=1"
          severity = "critical"
          fixed_in = ["1:1.3"]
        }
      }
    }
  }

  expect {
    verdict = "admitted"
    only    = true
  }
}

test "and no longer than until it expires" {
  now = "2027-02-01"

  image "nginx" {
    review_by = "2027-05-01"

    platform "linux/amd64" {
      scan "builtin" {
        database = "2027-01-31"

        vulnerability "CVE-2026-4321" {
          package  = "zlib1g"
          purl     = "pkg:deb/debian/zlib1g@1.2.13?epoch=1"
          severity = "critical"
          fixed_in = ["1:1.3"]
        }
      }
    }
  }

  expect {
    verdict = "blocked"
    only    = true

    finding {
      rule = "vulnerabilities"
      id   = "CVE-2026-4321"
    }
  }
}

test "our own images are looked at more closely" {
  now = "2026-11-21"

  image "acme-shop" {
    source    = "ghcr.io/acme/shop"
    review_by = "2027-05-01"

    platform "linux/amd64" {
      config {
        user  = "0"
        env   = ["DB_PASSWORD=example"]
        ports = ["80/tcp"]
        labels = {
          "org.opencontainers.image.source" = "https://github.com/acme/shop"
        }
      }

      scan "builtin" {
        database      = "2026-11-20"
        distribution  = "debian:12"
        support_until = "2026-12-01"

        package "log4j-core" {
          version = "2.14.1"
          purl    = "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"
          license = "Apache-2.0"
        }

        package "shop" {
          version = "1.0.0"
          purl    = "pkg:npm/shop@1.0.0"
          license = "MIT OR AGPL-3.0-only"
        }

        package "ghost" {
          version = "1.0.0"
          purl    = "pkg:npm/ghost@1.0.0"
          license = "AGPL-3.0-only"
        }
      }
    }
  }

  expect {
    verdict = "blocked"
    only    = true

    finding {
      rule = "config"
      id   = "root-user"
    }

    finding {
      rule = "config"
      id   = "80/tcp"
    }

    finding {
      rule = "config"
      id   = "secret:DB_PASSWORD"
    }

    finding {
      rule = "end_of_life"
      id   = "end-is-near"
    }

    finding {
      rule    = "licenses"
      package = "ghost"
    }

    finding {
      rule    = "packages"
      package = "pkg:maven/org.apache.logging.log4j/log4j-core"
    }
  }
}
