#!/bin/sh
# Checks examples/deploy/sigver.service with systemd-analyze: `service.sh [SERVER]`.
set -eu
server=$(realpath "${1:-target/release/sigver}")
unit=examples/deploy/sigver.service
if ! command -v systemd-analyze >/dev/null; then
  echo "NOT TESTED: $unit: systemd-analyze is not installed"
  echo "0 passed, 0 failed, 1 skipped"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The command must exist.
sed "s|/usr/local/bin/sigver|$server|" $unit >"$folder/sigver.service"
grep -q "^ExecStart=$server --config " "$folder/sigver.service"
# It also exits with 0 after warnings, for example about an unknown key.
warnings=$(systemd-analyze verify "$folder/sigver.service" 2>&1) || { echo "$warnings" && exit 1; }
if [ -n "$warnings" ]; then
  echo "systemd-analyze verify: $warnings" >&2
  exit 1
fi
# From 0, not exposed, to 100.
systemd-analyze security --offline=yes --threshold=20 --no-pager "$folder/sigver.service" | tail -1
echo "1 passed, 0 failed"
