#!/usr/bin/env bash
# Makes .venv-peers/NAME, the environment that one peer runs in, in the exact versions of requirements/peers/NAME.txt.
# `loadtests/peers/setup.sh NAME` is cheap when nothing changed: a stamp remembers what the environment was made from.
# `loadtests/peers/setup.sh lock NAME` resolves anew what the peer asks for and writes its lock.
# Needs .venv (make setup), whose Python every peer runs on.
set -euo pipefail
cd "$(dirname "$0")/../.."

die() { echo "peers: $*" >&2; exit 1; }

# What each asks for itself. uvloop and httptools are what uvicorn takes where they are installed.
wanted() {
  case "$1" in
    fastapi) echo fastapi uvicorn uvloop httptools lightgbm numpy ;;
    tl2cgen) echo fastapi uvicorn uvloop httptools tl2cgen treelite numpy ;;
    bentoml) echo bentoml uvloop httptools lightgbm numpy ;;
    mlserver) echo mlserver uvloop httptools lightgbm numpy ;;
    litserve) echo litserve uvloop httptools lightgbm numpy ;;
    *) die "$1: expected one of fastapi, tl2cgen, bentoml, mlserver, litserve" ;;
  esac
}

fingerprint() { { .venv/bin/python -VV; pwd; wanted "$name"; cat "$lock"; } | cksum; }

# Into the environment named `place`, with further options of pip.
install() {
  local packages
  read -ra packages <<<"$(wanted "$name")"
  .venv/bin/python -m venv --clear "$place"
  "$place/bin/python" -m pip install -qq --disable-pip-version-check --no-input "$@" "${packages[@]}"
  "$place/bin/python" -m pip check -qq --disable-pip-version-check || die "$name: its packages do not fit together"
}

make_environment() {
  local stamp="$place/.stamp"
  if "$place/bin/python" -c '' 2>/dev/null && [ "$(fingerprint)" = "$(cat "$stamp" 2>/dev/null)" ]; then return; fi
  [ -f "$lock" ] || die "$name: $lock is absent"
  echo "peers: making $place"
  install --constraint "$lock"
  fingerprint >"$stamp"
}

write_lock() {
  place=$(mktemp -d)
  trap 'rm -rf "$place"' EXIT
  install --only-binary :all:
  mkdir -p requirements/peers
  { echo "# What $name runs with and all that it pulls in, written by \`loadtests/peers/setup.sh lock $name\`."
    "$place/bin/python" -m pip freeze --disable-pip-version-check | grep -E '^[A-Za-z0-9._-]+==[^ ]+$'
  } >"$lock"
  echo "peers: $(grep -c == "$lock") packages in $lock"
}

[ $# -ge 1 ] || die "expected NAME, or lock NAME"
name=${*: -1}
wanted "$name" >/dev/null
[ -x .venv/bin/python ] || die ".venv is absent; make it: make setup"
lock=requirements/peers/$name.txt place=.venv-peers/$name
if [ "$1" = lock ]; then write_lock; else make_environment; fi
