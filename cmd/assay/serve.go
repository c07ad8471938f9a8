package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/assay-oci/assay/reconcile/registry/serve"
)

func newServe(io stdio) *cobra.Command {
	var o serve.Options
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a registry on this machine, for whoever has none yet",
		Long: `Serve runs a whole OCI registry (CNCF distribution) until it is interrupted. It asks for no password, and so listens on a
loopback address unless --anywhere is given.`,
		Example: "  assay serve --address 127.0.0.1:5000 --folder ./registry",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Ready = func(address string) { fmt.Fprintf(io.err, "serving a registry at %s\n", address) }
			return serve.Serve(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.Addr, "address", "127.0.0.1:5000", "where to listen, as `host:port`; port 0 takes a free one")
	c.Flags().StringVar(&o.Dir, "folder", "registry", "the `folder` that holds the content")
	c.Flags().BoolVar(&o.Anywhere, "anywhere", false, "listen on an address that other machines reach, without a password")
	return c
}
