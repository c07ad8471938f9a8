policy "baseline" {
  rule "sources" {
    allow = ["docker.io/library/*", "registry.k8s.io/**", "ghcr.io/acme/**"]
  }

  rule "vulnerabilities" {
    deny    = "high"
    fixable = true
    grace   = "168h"
  }

  rule "scanners" {
    minimum = 2
    max_age = "7d"
  }

  rule "platforms" {
    require = ["linux/amd64"]
  }

  rule "versions" {
    maximum = 3
  }
}
