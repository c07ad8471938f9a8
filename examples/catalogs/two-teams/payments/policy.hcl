policy "payments" {
  rule "vulnerabilities" {
    deny   = "medium"
    quorum = 2
  }

  rule "condition" {
    assert  = image.config.user != "root" && image.config.user != "" && image.config.user != "0"
    message = "Images of payments must not run as root."
  }

  rule "condition" {
    assert  = image.owner != "" && image.review_by != ""
    message = "Images of payments need an owner and a date of review."
  }
}
