# One image a file. This one is an example: take the marks away, and write the digest of the version that you want. A registry tells it, as with
# docker buildx imagetools inspect docker.io/library/nginx:1.27.3
#
# image "nginx" {
#   source  = "docker.io/library/nginx"
#   owner   = "@acme/platform"
#   purpose = "Reverse proxy at the edge"
#
#   version "1.27.3" {
#     digest = "sha256:…"
#     tags   = ["1.27", "stable"]
#   }
# }
