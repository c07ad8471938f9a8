image "distroless-static" {
  source     = "gcr.io/distroless/static-debian12"
  repository = "distroless/static"
  purpose    = "Base of static binaries"

  version "20261101" {
    digest = "sha256:2229ccb3d574fee9a279ac3cd9419617b64178692e0361c0fce01b1332e5e728"
    tags   = ["stable"]
  }
}

image "distroless-base" {
  source     = "gcr.io/distroless/base-debian12"
  repository = "distroless/base"
  purpose    = "Base of binaries that need libc"

  version "20261101" {
    digest = "sha256:8f781f4cbc483a9f43f7ed8f5bf22fbb0460d044caac40b9dabadea021be0a82"
    tags   = ["stable"]
  }
}
