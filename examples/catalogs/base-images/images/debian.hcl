image "debian" {
  source  = "docker.io/library/debian"
  purpose = "Base of images that need a shell"

  version "12.11" {
    digest = "sha256:9a36143c779dbcd75f6ee66e45f0a2cbc81721e4dddff6c48788cf41a297174a"
  }

  version "12" {
    digest  = "sha256:2c6047a3e5437e109e09dadb2c4d0b8f0756e1a1a2caa78e31a6dd10ee7fda01"
    tags    = ["stable"]
    mutable = true
  }
}
