waiver "CVE-2026-4321" {
  rule          = "vulnerabilities"
  image         = "ledger"
  package       = "zlib1g"
  justification = "vulnerable_code_not_in_execute_path"
  reason        = "The service never opens archives that others made."
  expires       = "2027-01-31"
}
