# The organization: where approved images go, and what is demanded of them. Every block is described in the reference of the language, every rule in that of the rules.

scope "acme" {
  level = "organization"
}

registry "main" {
  address = "registry.example.com/approved" # everything below this prefix is owned: what the catalog does not approve loses its tags
}

scanner "builtin" {}

# Approved images are judged again every day, by the advisories of that day.
rescan {
  interval = "24h"
  expires  = "720h"
}

# An approval is verified and not assumed. With "rules", the branch's ruleset demands a code owner's approval, and Assay sees that it does; see README.md. With
# "reviews", the reviews are read: where owners are teams, that takes the token of a GitHub App.
gate {
  mode = "rules"
}

# Who signs: the workflows of this repository on the catalog's branch, without a key.
signer "main" {
  keyless {
    issuer  = "https://token.actions.githubusercontent.com"
    subject = "^https://github\\.com/acme/catalog/\\.github/workflows/(reconcile|drift)\\.yml@refs/heads/main$"
  }
}

policy "baseline" {
  rule "sources" {
    allow = ["docker.io/library/*"]
  }

  rule "scanners" {
    minimum = 1
  }

  rule "vulnerabilities" {
    deny    = "high" # this severity and above
    fixable = true   # where a fix exists
  }

  rule "approval" {
    required = 1
  }
}
