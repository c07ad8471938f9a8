// Package github is the forge of catalogs that live at GitHub or at a GitHub Enterprise Server: it verifies how a change of the catalog was
// approved. It is the only importer of go-github.
//
// Whatever the API answers was written by others: logins, titles and files are data, never markup, a path or a host to call.
package github
