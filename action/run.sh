# Runs plan or reconcile. What it ends with is an output: the report is published first.
set -euo pipefail

work=$RUNNER_TEMP/assay
cache=${CACHE:-$work/cache}
mkdir -p "$work"

# by_event is the mode that belongs to an event. Others have none: what pull_request_target and issue_comment do, others decide.
by_event() {
  case $GITHUB_EVENT_NAME in
  pull_request | merge_group) echo plan ;;
  push | workflow_dispatch) echo reconcile ;;
  schedule) echo drift ;;
  workflow_run) echo comment ;;
  *) fail "the event $GITHUB_EVENT_NAME has no mode of its own; give mode" ;;
  esac
}

# common are the flags of both commands.
common() {
  flags+=(--catalog "$CATALOG" --cache "$cache" --output json)
  [ -z "$CATALOG_PATH" ] || flags+=(--path "$CATALOG_PATH")
  [ -z "$STAGE" ] || flags+=(--stage "$STAGE")
  [ -z "$INSECURE" ] || flags+=(--insecure-registry "$INSECURE")
}

# A pull request's commit is the merge that GitHub tries out; its first parent is the branch. Only what the two differ in is looked at: the rest is for the schedule.
plan() {
  report=$work/plan.json
  local base=${BASE:-$COMMIT^}
  flags=(plan --commit "$COMMIT" --base "$base" --since "$base")
  common
  [ "$ALLOW_GAPS" != true ] || flags+=(--allow-gaps)
}

# Only the newest commit of the catalog's branch may change registries.
reconcile() {
  report=$work/report.json
  flags=(reconcile)
  common
  [ -z "$REF" ] || flags+=(--ref "$REF")
}

advisories() {
  [ -n "$ECOSYSTEMS" ] || return 0
  local update=(db update --cache "$cache" --epss --kev --support)
  [ -z "$MIRROR" ] || update=(db update --cache "$cache" "$MIRROR")
  for e in ${ECOSYSTEMS//,/ }; do update+=(--ecosystem "$e"); done
  "$ASSAY" "${update[@]}" >&2
}

fail() {
  echo "::error::assay: $*" >&2
  exit 1
}

mode=${MODE:-$(by_event)}
case $mode in
plan) plan ;;
reconcile | drift) reconcile ;;
comment)
  [ -n "$REPORT" ] || fail "comment needs report, the file that another run's plan made"
  printf '%s\n' "mode=comment" "report=$REPORT" "exit-code=0" >>"$GITHUB_OUTPUT"
  exit 0
  ;;
*) fail "mode is none of plan, reconcile, drift and comment" ;;
esac

# What the program says on its way may quote the catalog: none of it is a command to the workflow.
quiet=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
echo "::stop-commands::$quiet" >&2
trap 'echo "::$quiet::" >&2' EXIT
advisories || echo "assay: not all advisories could be fetched; scanners judge by what there is, and say how old it is" >&2
code=0
"$ASSAY" "${flags[@]}" >"$report" || code=$?
printf '%s\n' "mode=$mode" "exit-code=$code" >>"$GITHUB_OUTPUT"
[ ! -s "$report" ] || echo "report=$report" >>"$GITHUB_OUTPUT"
