policy "baseline" {
  rule "sources" {
    allow = ["docker.io/library/*", "ghcr.io/acme/**"]
  }

  # what is known to be exploited is denied at once; the rest may wait a week for its fix
  rule "vulnerabilities" {
    deny         = "high"
    fixable      = true
    grace        = "7d"
    exploited    = true
    on_violation = "quarantine"
  }

  rule "scanners" {
    minimum = 1
    max_age = "7d"
  }

  rule "age" {
    review_by = "required"
  }
}
