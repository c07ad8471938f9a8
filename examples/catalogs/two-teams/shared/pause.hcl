image "pause" {
  source     = "registry.k8s.io/pause"
  owner      = "@acme/platform"
  purpose    = "Holds the namespaces of a pod"
  registries = ["eu", "prod"]

  version "3.10" {
    digest = "sha256:6f731803067f31e94ef5b69886fd237b34be5aba29183bbb1ba34b849077e1ca"
  }
}
