image "alpine" {
  source  = "docker.io/library/alpine"
  purpose = "Small base with a shell"

  version "3.22.1" {
    digest = "sha256:1d393dd6e1af5de35a3f87bcb3ce119371fb6eb13a10d6baefa489ca7639b349"
    tags   = ["3.22"]
  }
}
