scope "acme" {
  level = "organization" # organization | program | project | application
}

registry "eu" {
  address  = "registry.eu.example.com/approved" # everything below this prefix is owned
  identity = "images.example.com/approved"      # canonical name in signatures and records; the same for all replicas
}

registry "prod" {
  address = "registry.prod.example.com/approved"
  after = { # staged promotion
    registry = "eu"
    soak     = "72h"
  }
}

scanner "trivy" {}
scanner "grype" {}

signer "main" {
  key = "awskms:///alias/approved-images"
}

prune {
  limit = 10     # refuse to delete more than this in one run
  grace = "168h" # absent from the catalog for so long before deletion
}

policy "baseline" {
  rule "sources" {
    allow = ["docker.io/library/*", "registry.k8s.io/**"]
  }
  rule "vulnerabilities" {
    deny    = "high" # this severity and above
    fixable = true   # only those with a fix
    grace   = "168h" # after publication
    quorum  = 1      # scanners that must agree, of those that cover the ecosystem
  }
  rule "scanners" {
    minimum = 2
  }
  rule "licenses" {
    deny = ["AGPL-3.0-only", "SSPL-1.0"]
  }
  rule "platforms" {
    require = ["linux/amd64", "linux/arm64"]
  }
  rule "versions" { # version sprawl
    maximum = 3
  }
  rule "approval" {
    required = 1
    from     = "codeowners"
  }
  rule "condition" { # anything else, in HCL over the evidence
    assert  = image.config.user != "root" && image.config.user != ""
    message = "Images must not run as root."
  }
}

image "nginx" {
  source     = "docker.io/library/nginx"
  repository = "nginx" # default: the label
  owner      = "@acme/edge"
  purpose    = "Reverse proxy at the edge"
  review_by  = "2027-05-01"

  version "1.27.3" {
    digest = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    tags   = ["1.27", "stable"]
  }
}

revoke "nginx" {
  digest      = "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
  reason      = "CVE-2026-1234: request smuggling"
  replacement = "1.27.3"
}

waiver "CVE-2026-4321" {
  rule          = "vulnerabilities"
  image         = "nginx"
  justification = "vulnerable_code_not_in_execute_path" # OpenVEX's terms
  reason        = "The module is not loaded in our configuration."
  expires       = "2027-01-31"
}
