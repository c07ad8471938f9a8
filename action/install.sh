# Builds assay from the source that this file is part of, or downloads a release and verifies its checksum.
set -euo pipefail

bin=$RUNNER_TEMP/assay-bin
mkdir -p "$bin"

build() {
  command -v go >/dev/null || fail "there is no Go to build assay with; leave setup-go at true, or name a version"
  cd "$GITHUB_ACTION_PATH/.."
  go build -trimpath -ldflags "-s -w -X main.version=${REVISION:-source}" -o "$bin/assay" ./cmd/assay
}

download() {
  [[ $VERSION =~ ^v[0-9][0-9A-Za-z.+-]*$ ]] || fail "the version is no release such as v1.2.0"
  local file from
  file=assay-$(platform)
  from=$RELEASES/$VERSION
  cd "$(mktemp -d)"
  fetch "$from/$file"
  if [ -n "$SHA256" ]; then
    [[ $SHA256 =~ ^[0-9a-f]{64}$ ]] || fail "sha256 is no SHA-256 in lower-case hexadecimal"
    echo "$SHA256  $file" >expected
  else
    fetch "$from/checksums.txt"
    awk -v file="$file" '$2 == file || $2 == "*" file' checksums.txt >expected
    [ "$(wc -l <expected)" -eq 1 ] || fail "checksums.txt of $VERSION does not name $file once"
  fi
  sha256sum --check --strict --status expected || fail "$file of $VERSION does not have the checksum that it must have; it is not used"
  install -m 755 "$file" "$bin/assay"
}

platform() {
  case $(uname -s)-$(uname -m) in
  Linux-x86_64) echo linux-amd64 ;;
  Linux-aarch64 | Linux-arm64) echo linux-arm64 ;;
  *) fail "there is no release for $(uname -s) on $(uname -m); leave version empty to build it" ;;
  esac
}

fetch() {
  curl --fail --silent --show-error --location --proto-redir =https --retry 3 --max-time 300 --max-filesize 500000000 --remote-name "$1" ||
    fail "$1 can't be downloaded; is there such a release?"
}

fail() {
  echo "::error::assay: $*" >&2
  exit 1
}

if [ -n "$VERSION" ]; then download; else build; fi
echo "$bin" >>"$GITHUB_PATH"
echo "program=$bin/assay" >>"$GITHUB_OUTPUT"
"$bin/assay" version
