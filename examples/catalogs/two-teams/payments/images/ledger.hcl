image "ledger" {
  source    = "ghcr.io/acme/ledger"
  owner     = "@acme/payments"
  purpose   = "Books every payment"
  review_by = "2027-05-01"

  version "4.2.0" {
    digest = "sha256:70e0625358e4e55406750de522817b5e951a781012c9fccb20099027e3a769db"
    tags   = ["4.2"]
  }

  version "4.3.1" {
    digest = "sha256:3694a90f8928a2806fd6edda658de19550ece442f00aa08cc49e7135032b6f11"
    tags   = ["4.3", "stable"]
  }
}
