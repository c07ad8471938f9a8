scope "acme" {
  level = "organization"
}

registry "eu" {
  address  = "registry.eu.example.com/approved"
  identity = "images.example.com/approved"
}

registry "prod" {
  address  = "registry.prod.example.com/approved"
  identity = "images.example.com/approved"
  after = {
    registry = "eu"
    soak     = "72h"
  }
}

scanner "trivy" {}

scanner "grype" {
  timeout = "15m"
}

signer "main" {
  key = "keys/approved-images.key"
}

prune {
  limit = 10
  grace = "168h"
}
