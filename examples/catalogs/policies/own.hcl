policy "own" {
  rule "licenses" {
    images = ["acme-*"]
    deny   = ["AGPL-*", "SSPL-1.0"]
  }

  rule "packages" {
    images = ["acme-*"]
    deny   = ["telnetd", "pkg:maven/org.apache.logging.log4j/log4j-core@>=2.0,<2.17.1"]
  }

  rule "end_of_life" {
    images = ["acme-*"]
    notice = "30d"
  }

  rule "config" {
    images         = ["acme-*"]
    forbid_root    = true
    ports          = ["1024-65535/tcp"]
    forbid_secrets = true
    labels = {
      "org.opencontainers.image.source" = "https://github.com/acme/**"
    }
  }

  rule "condition" {
    images  = ["acme-*"]
    assert  = length([for v in image.vulnerabilities : v.id if v.epss > 0.5]) == 0
    message = "What is likely to be exploited is mended before it is published."
  }
}
