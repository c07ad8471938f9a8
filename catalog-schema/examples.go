package catalog

// The examples of the reference. A test loads them together as one catalog.
const (
	exampleScope = `scope "acme" {
  level = "organization"
}
`
	exampleRegistry = `registry "eu" {
  address  = "registry.eu.example.com/approved"
  identity = "images.example.com/approved"
}

registry "prod" {
  address = "registry.prod.example.com/approved"
  after = {
    registry = "eu"
    soak     = "72h"
  }
}
`
	exampleScanner = `scanner "builtin" {}

scanner "trivy" {
  program  = "/usr/local/bin/trivy"
  version  = "0.70.0"
  checksum = "sha256:8f14e45fceea167a5a36dedd4bea2543f6f8b8c1f0a3f1e2d4c5b6a798081726"
  database = "/var/lib/trivy"
  max_age  = "24h"
  timeout  = "5m"
  memory   = "2GiB"
  confined = true
}

scanner "acme" {
  command = ["/opt/acme/scan", "--db={database}", "{layout}"]
}
`
	exampleSigner = `signer "main" {
  key = "awskms:///alias/approved-images"
}

signer "ci" {
  keyless {
    issuer  = "https://token.actions.githubusercontent.com"
    subject = "https://github.com/acme/catalog/.github/workflows/reconcile.yml@refs/heads/main"
  }
}
`
	exampleSigstore = `sigstore "acme" {
  trusted_root = "sigstore/trusted_root.json"
}
`
	examplePrune = `prune {
  limit = 10
  grace = "168h"
}
`
	examplePolicy = `policy "baseline" {
  rule "platforms" {
    require = ["linux/amd64", "linux/arm64"]
  }
}
`
	exampleImage = `image "nginx" {
  source    = "docker.io/library/nginx"
  owner     = "@acme/edge"
  purpose   = "Reverse proxy at the edge"
  review_by = "2027-05-01"

  version "1.27.3" {
    digest = "sha256:0c9e0b6d0a0f5ad4d2e7f2a4b1c6d8e93f5a7b9c1d3e5f7092a4b6c8dae0f214"
    tags   = ["1.27", "stable"]
  }
}
`
	exampleRevoke = `revoke "nginx" {
  digest      = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
  reason      = "CVE-2026-1234: request smuggling"
  replacement = "1.27.3"
}
`
	exampleWaiver = `waiver "CVE-2026-4321" {
  rule          = "platforms"
  image         = "nginx"
  justification = "vulnerable_code_not_in_execute_path"
  reason        = "The module is not loaded in our configuration."
  expires       = "2027-01-31"
}
`
	exampleRescan = `rescan {
  interval = "24h"
  expires  = "720h"
}
`
	exampleGate = `gate {
  mode       = "reviews"
  baseline   = "4f2a7c91d0be5a63847f12c0d9e8b7a6f5e4d3c2"
  repository = "acme/catalog"
}
`
	exampleVEX = `vex "nginx" {
  file    = "vex/nginx.json"
  author  = "security@example.com"
  image   = "nginx"
  expires = "2027-01-31"
}
`
)
