package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/assay-oci/assay/reconcile/scan/builtin"
)

func newDB(io stdio) *cobra.Command {
	c := &cobra.Command{Use: "db", Short: "Manage the advisory database of the built-in scanner"}
	c.AddCommand(newDBUpdate(io))
	return c
}

func newDBUpdate(io stdio) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "update ZIP|FOLDER...",
		Short: "Import OSV advisories, replacing the database at once",
		Long: `Update imports advisories in the OSV format, as https://osv-vulnerabilities.storage.googleapis.com/<ecosystem>/all.zip has them, from zip
files or folders. One bad record fails the import, and the database stays as it was.`,
		Example: "  assay db update Debian/all.zip npm/all.zip",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cache, err := o.folder()
			if err != nil {
				return err
			}
			info, err := builtin.Import(c.Context(), advisoryFolder(cache), args...)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(io.out, "Imported %d advisories for %d ecosystems.\n", info.Records, len(info.Ecosystems))
			return err
		},
	}
	c.Flags().StringVar(&o.cache, "cache", "", "the `folder` for what may vanish; default: assay in the user's cache folder")
	return c
}
