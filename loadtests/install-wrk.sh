#!/usr/bin/env bash
# Installs wrk where root and apt can; without it the bundled client makes the load.
set -euo pipefail
command -v wrk >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "bench: installing wrk"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends wrk; } </dev/null >&2 && exit 0
fi
echo "bench: wrk is not installed (apt-get install wrk, brew install wrk): the bundled client makes the load"
