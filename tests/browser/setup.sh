#!/bin/sh
# Installs the dependencies of the browser tests: Debian's Chromium and the npm packages in package.json.
set -eu
cd "$(dirname "$0")"

if [ ! -x /usr/bin/chromium ]; then
    as_root=''
    [ "$(id -u)" -eq 0 ] || as_root='sudo'
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
fi
/usr/bin/chromium --version

# playwright-core uses Debian's Chromium and must not download a browser. No package needs its install script.
PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
test -d node_modules/playwright-core
