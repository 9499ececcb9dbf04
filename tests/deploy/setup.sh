#!/bin/sh
# Installs the proxies of examples/deploy that Debian has, systemd-analyze and openssl. What cannot be installed is not
# tested, and the tests report that.
for package in nginx-light:nginx haproxy:haproxy caddy:caddy systemd:systemd-analyze openssl:openssl; do
  command -v "${package#*:}" >/dev/null || PATH="$PATH:/usr/sbin" command -v "${package#*:}" >/dev/null && continue
  [ -n "$updated" ] || { apt-get update -qq && updated=1; }
  # The packages start services, which the tests do not use.
  RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${package%:*}" >/dev/null ||
    echo "NOT INSTALLED: ${package%:*}" >&2
  systemctl disable --now "${package#*:}" 2>/dev/null
done
exit 0
