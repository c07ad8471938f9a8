scope "edge" {
  level      = "project"
  path       = "edge"
  registries = ["eu"]
}
