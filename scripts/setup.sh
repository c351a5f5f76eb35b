#!/usr/bin/env bash
# Makes .venv for training, serving and tests, in the exact versions of requirements/lock.txt, with this checkout
# installed into it. Checks first what the system must bring; as root with apt it installs what lacks, otherwise it says in one line what to install.
# Arguments name what a verb needs beyond that: `redis` requires a redis-server, which the tests start for themselves;
# any other is an extra of pyproject.toml (`load`, `mlflow`, `dashboard`, `notebook`, `cdnow`), installed where it lacks.
# Cheap when nothing changed: a stamp in .venv remembers what it was made from.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "setup: $*" >&2; exit 1; }
is_macos() { [ "$(uname -s)" = Darwin ]; }
may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

recent_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
find_python() {
  local name
  for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}; do
    if recent_enough "$name"; then command -v "$name"; return; fi
  done
}

has_venv() { "$python" -c 'import ensurepip, venv' 2>/dev/null; }
has_compiler() { printf '#include <math.h>\n#include <stdlib.h>\nint main(void) { return 0; }\n' | cc -x c - -o /dev/null 2>/dev/null; }
has_openmp() {
  if is_macos; then
    ls /opt/homebrew/opt/libomp/lib/libomp.dylib /usr/local/opt/libomp/lib/libomp.dylib 2>/dev/null | grep -q .
  else
    "$python" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null
  fi
}
has_redis() { command -v redis-server >/dev/null || [ -n "${PLTV_TEST_REDIS_URL:-}" ]; }

# Sets `missing` to the Debian packages that would fill the gaps, `hints` to the same for macOS.
check_system() {
  missing=() hints=()
  python=$(find_python)
  [ -n "$python" ] || { missing+=(python3 python3-venv); hints+=("brew install python@3.12"); python=python3; }
  [ ${#missing[@]} -gt 0 ] || has_venv || missing+=(python3-venv)
  has_compiler || { missing+=(gcc libc6-dev); hints+=("xcode-select --install"); }
  has_openmp || { missing+=(libgomp1); hints+=("brew install libomp"); }
  [ "$1" != redis ] || has_redis || { missing+=(redis-server); hints+=("brew install redis"); }
}

install_missing() {
  echo "setup: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } </dev/null >&2
}

require_system() {
  check_system "$1"
  [ ${#missing[@]} -gt 0 ] || return 0
  if may_install; then install_missing || die "apt-get could not install ${missing[*]}"; check_system "$1"; fi
  [ ${#missing[@]} -gt 0 ] || return 0
  if is_macos; then die "this machine lacks something; run: $(printf '%s; ' "${hints[@]}")"; fi
  die "this machine lacks ${missing[*]} (Python must be 3.11 or newer); run: sudo apt-get install ${missing[*]}"
}

fingerprint() { { "$python" -VV; pwd; cat requirements/lock.txt pyproject.toml scripts/setup.sh; } | cksum; }

make_environment() {
  local stamp=.venv/.stamp pip_options=(-qq --disable-pip-version-check --no-input --constraint requirements/lock.txt)
  if [ -x .venv/bin/pltv ] && .venv/bin/python -c '' 2>/dev/null && [ "$(fingerprint)" = "$(cat $stamp 2>/dev/null)" ]; then return; fi
  echo "setup: making .venv with $("$python" -V): about a minute"
  "$python" -m venv --clear .venv
  # The lock is a constraint: an extra that only one verb needs (load) is pinned by it and installed by that verb.
  .venv/bin/python -m pip install "${pip_options[@]}" setuptools
  .venv/bin/python -m pip install "${pip_options[@]}" --no-build-isolation --editable '.[train,dev]'
  fingerprint >"$stamp"
}

# Extras beside the environment's own, one stamp each.
install_extras() {
  local extra
  for extra in "$@"; do
    [ "$extra" != redis ] && [ ! -e ".venv/.extra-$extra" ] || continue
    echo "setup: installing what \`$extra\` needs"
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --constraint requirements/lock.txt \
      --no-build-isolation --editable ".[$extra]" || die "could not install the extra $extra"
    touch ".venv/.extra-$extra"
  done
}

case " $* " in *" redis "*) require_system redis ;; *) require_system "" ;; esac
make_environment
install_extras "$@"
