# Publishes a report: on the pull request that the event is about, or after a drift run in the issue; and in the job's summary and on the catalog's lines.
set -euo pipefail

flags=(--report "$REPORT")
[ -z "$CATALOG_PATH" ] || flags+=(--path "$CATALOG_PATH")
if [ "$MODE" = drift ]; then
  command=drift
  [ "$MENTION" != true ] || flags+=(--mention)
else
  command=comment
  [ "$CHECK" != true ] || flags+=(--check)
  [ "$SARIF" != true ] || flags+=(--sarif)
  [ "$LABELS" != true ] || flags+=(--labels)
fi

# What goes to stdout are commands to the workflow. What goes to stderr may quote others, and becomes none: at the beginning of a line :: starts one, anywhere ##[.
exec 3>&1
"$ASSAY" "$command" "${flags[@]}" 2>&1 >&3 | sed -e 's/##\[/## [/g' -e 's/^[[:space:]]*::/ : :/' >&2
