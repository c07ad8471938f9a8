image "nginx" {
  source    = "docker.io/library/nginx"
  owner     = "@acme/edge"
  purpose   = "Reverse proxy at the edge"
  review_by = "2027-05-01"

  version "1.27.3" {
    digest = "sha256:3c98f88e5871d479b809ff13117ca382e23226120924717fdf98dbd37a41fffd"
    tags   = ["1.27", "stable"]
  }
}
