scope "acme" {
  level = "organization"
}

registry "base" {
  address = "registry.example.com/base"
}

signer "base" {
  key     = "keys/base-images.key"
  formats = ["legacy", "bundle"]
}

policy "base" {
  rule "sources" {
    allow = ["docker.io/library/*", "gcr.io/distroless/*"]
  }

  rule "vulnerabilities" {
    deny    = "critical"
    fixable = true
  }

  rule "platforms" {
    require = ["linux/amd64", "linux/arm64"]
  }
}

waiver "no-packages" {
  rule    = "vulnerabilities"
  image   = "distroless-static"
  reason  = "It holds certificates and time zones alone; there is no package to judge."
  expires = "2027-06-30"
}
