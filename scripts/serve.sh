#!/usr/bin/env bash
# Serves models/current on PORT. Where models/ holds no bundle, a small market is generated and a bundle trained first.
# `scripts/serve.sh bundle` stops there.
# The service replaces this shell, so that whoever signals the group, or presses Ctrl-C, reaches it directly.
set -euo pipefail
cd "$(dirname "$0")/.."
port=${PORT:-8000}

newest_bundle() {
  local manifest newest=
  for manifest in models/*/manifest.json; do
    if [ -e "$manifest" ] && { [ -z "$newest" ] || [ "$manifest" -nt "$newest" ]; }; then newest=$manifest; fi
  done
  [ -z "$newest" ] || basename "$(dirname "$newest")"
}

make_demonstration() {
  echo "serve: models/ holds no bundle: generating a small market and training on it (a few minutes, once)"
  rm -rf data/demo data/demo.oracle.parquet # what an interrupted run left
  .venv/bin/pltv generate --rows 60000 --seed 7 --out data/demo
  .venv/bin/pltv train --config config/smadex.yaml --data data/demo --out models/demo
}

if [ ! -e models/current/manifest.json ]; then
  bundle=$(newest_bundle)
  [ -n "$bundle" ] || { make_demonstration; bundle=demo; }
  ln -sfn "$bundle" models/current
fi

[ "${1:-}" != bundle ] || exit 0

# In a subshell of its own: the service must not inherit a child that it knows nothing of.
(.venv/bin/python scripts/announce.py "$port" $$ &)
exec .venv/bin/python -m app --bundle models/current --port "$port"
