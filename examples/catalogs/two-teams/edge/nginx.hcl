image "nginx" {
  source  = "docker.io/library/nginx"
  owner   = "@acme/edge"
  purpose = "Reverse proxy at the edge"

  version "1.27.3" {
    digest = "sha256:3c98f88e5871d479b809ff13117ca382e23226120924717fdf98dbd37a41fffd"
    tags   = ["1.27", "stable"]
  }
}

revoke "nginx" {
  digest      = "sha256:5e2c969f719f9fd0d707064161225d8048434f36f83d5a09ee3da131d1a049db"
  reason      = "CVE-2026-1234: request smuggling"
  replacement = "1.27.3"
}
