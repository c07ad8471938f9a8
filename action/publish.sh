# Publishes a report: on the pull request that the event is about, or after a drift run in the issue; and in the job's summary and on the catalog's lines.
set -euo pipefail

flags=(--report "$REPORT")
[ -z "$CATALOG_PATH" ] || flags+=(--path "$CATALOG_PATH")

if [ "$MODE" = drift ]; then
  [ "$MENTION" != true ] || flags+=(--mention)
  exec "$ASSAY" drift "${flags[@]}"
fi
[ "$CHECK" != true ] || flags+=(--check)
[ "$SARIF" != true ] || flags+=(--sarif)
[ "$LABELS" != true ] || flags+=(--labels)
exec "$ASSAY" comment "${flags[@]}"
