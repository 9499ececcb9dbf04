#!/bin/sh
# Installs the dependencies of the browser tests: Debian's Chromium, Firefox ESR and coturn, and the npm packages in
# package.json.
set -eu
cd "$(dirname "$0")"

packages=''
[ -x /usr/bin/chromium ] || packages='chromium fonts-dejavu-core'
[ -x /usr/bin/firefox-esr ] || packages="$packages firefox-esr"
PATH="$PATH:/usr/sbin" command -v turnserver >/dev/null || packages="$packages coturn"
if [ -n "$packages" ]; then
    as_root=''
    [ "$(id -u)" -eq 0 ] || as_root='sudo'
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list
    $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends $packages >/dev/null
    # The package starts a service. The tests start a server of their own.
    case $packages in *coturn*) $as_root systemctl disable --now coturn 2>/dev/null || true ;; esac
fi
/usr/bin/chromium --version
/usr/bin/firefox-esr --version
PATH="$PATH:/usr/sbin" command -v turnserver

# playwright-core and puppeteer-core use Debian's browsers and must not download one. No package
# needs its install script.
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 PUPPETEER_SKIP_DOWNLOAD=1
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
test -d node_modules/playwright-core
