vex "nginx" {
  file    = "vex/nginx.json"
  author  = "security@example.com"
  image   = "nginx"
  expires = "2027-01-31"
}
