# Publishes a report: on the pull request that the event is about, in the job's summary and on the catalog's lines; a drift run's also in the issue.
set -euo pipefail

flags=(--report "$REPORT")
[ -z "$CATALOG_PATH" ] || flags+=(--path "$CATALOG_PATH")
[ "$CHECK" != true ] || flags+=(--check)
[ "$SARIF" != true ] || flags+=(--sarif)
[ "$LABELS" != true ] || flags+=(--labels)
"$ASSAY" comment "${flags[@]}"

if [ "$MODE" = drift ]; then
  flags=(--report "$REPORT")
  [ "$MENTION" != true ] || flags+=(--mention)
  "$ASSAY" drift "${flags[@]}"
fi
