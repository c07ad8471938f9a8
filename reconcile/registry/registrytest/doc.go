// Package registrytest gives tests real registries on loopback: CNCF distribution and go-containerregistry's registry in this
// process, and Debian's docker-registry as a process of its own. Each stands behind a Traffic, which counts requests, bytes and
// connections, and can add latency, faults and password protection. Images come from generators that give the same bytes for the
// same seed.
package registrytest
