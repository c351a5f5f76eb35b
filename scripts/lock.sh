#!/usr/bin/env bash
# Writes requirements/lock.txt: the newest versions that pyproject.toml allows, for every extra, with all they pull in.
# Nothing is installed. The file names packages and versions only; where they come from is the package client's business.
set -euo pipefail
cd "$(dirname "$0")/.."

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --upgrade 'pip>=25'
"$place/venv/bin/python" - <<'PYTHON' >"$place/wanted.txt"
import itertools, pathlib, tomllib

project = tomllib.loads(pathlib.Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
print("\n".join(itertools.chain(project["dependencies"], *project["optional-dependencies"].values())))
PYTHON
"$place/venv/bin/pip" install --quiet --dry-run --ignore-installed --only-binary :all: \
  --report "$place/report.json" --requirement "$place/wanted.txt"
"$place/venv/bin/python" - "$place/report.json" <<'PYTHON' >"$place/lock.txt"
import json, pathlib, re, sys

report = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
found = (entry["metadata"] for entry in report["install"])
pins = sorted((re.sub(r"[-_.]+", "-", m["name"]).lower(), m["version"]) for m in found)
print("# Every extra and all that it pulls in, written by `make lock`.")
print("\n".join(f"{name}=={version}" for name, version in pins))
PYTHON
mv "$place/lock.txt" requirements/lock.txt
echo "lock: $(grep -c == requirements/lock.txt) packages in requirements/lock.txt"
