scope "payments" {
  level = "project"
  path  = "payments"
}
