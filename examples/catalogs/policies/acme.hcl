scope "acme" {
  level = "organization"
}

registry "main" {
  address = "registry.example.com/approved"
}

scanner "builtin" {}
