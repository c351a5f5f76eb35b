"""The service where it may write nothing but a temporary directory, and what it holds after thousands of calls."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.served import bid, with_history
from tests.e2e.test_workers import until
from tests.stress.measures import descriptors, rss_bytes
from tests.support.callers import ADMIN_DIGEST, swap
from tests.support.market import second_bundle
from tests.support.service_process import serving_process, worker_pids

MIB = 1 << 20
CALLS = 1000
USER = 10001  # the image's
# A mount namespace of its own: everything read-only but a file system in memory at $TMPDIR. Then a user namespace in
# which the process is no root, and holds no capability: it still owns this checkout's files, whoever runs the tests.
CONFINE = """
set -e
mount -t tmpfs none "$TMPDIR"
cat /proc/self/mounts | while read -r _ place kind _; do
  case "$place" in "$TMPDIR"|/proc*|/sys*|/dev*) ;; *) mount -o remount,bind,ro "$place" 2>/dev/null || true ;; esac
done
for place in "$PWD" "$0"; do
  if touch "$place/probe" 2>/dev/null; then rm "$place/probe"; echo "$place can still be written to" >&2; exit 1; fi
done
exec unshare --user --map-user=10001 --map-group=10001 "$@"
"""


def confined(folder: Path) -> list[str]:
    """What comes before a command that shall write neither there nor into its working directory."""
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", CONFINE, str(folder)]


def rights(pid: int) -> tuple[int, int]:
    """A process's user in its own namespace, and its capabilities."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = Path(f"/proc/{pid}/uid_map").read_text().splitlines()
    return int(line.split()[0]), int(status.partition("CapEff:")[2].split()[0], 16)


def test_a_user_without_rights_on_a_read_only_root_is_enough(shop: Path, tmp_path: Path) -> None:
    """Two workers start, answer, are scraped, and swap by name; a temporary directory in memory is all they need."""
    first = Path(shutil.copytree(shop, tmp_path / "shop-1"))
    second_bundle(first, tmp_path / "shop-2")
    (tmp_path / "tmp").mkdir()
    within = confined(tmp_path)
    environment = {"TMPDIR": str(tmp_path / "tmp"), "PYTHONDONTWRITEBYTECODE": "1"}
    tried = subprocess.run([*within, sys.executable, "-c", ""], env=environment, capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"this system lets nobody confine a process: {tried.stderr.strip()}")
    with serving_process(first, workers=2, within=within, PLTV_ADMIN_TOKEN=ADMIN_DIGEST, **environment) as service:
        until(lambda: len(worker_pids(service.metrics())) == 2, "both workers serve")
        pids = {service.process.pid, *worker_pids(service.metrics())}
        assert {rights(pid) for pid in pids} == {(USER, 0)}
        assert service.predict(bid())["degraded"] == []
        swap(service, "shop-2", workers=2)
        assert service.stop() == 0
        assert "Traceback" not in service.output


def test_thousands_of_calls_leave_nothing_behind(shop: Path) -> None:
    """Memory and descriptors are after as many calls again what they were after the first."""
    bodies = [json.dumps(bid(id=f"r{n}", user=with_history(id=f"u{n}"))).encode() for n in range(CALLS)]
    with serving_process(shop, PLTV_NEAR_BYTES=str(MIB)) as service:
        held: list[tuple[int, int]] = []
        for _ in range(2):
            service.predict_at_once(bodies, connections=8)
            until(lambda: descriptors(service.process.pid) <= (held[0][1] if held else 1000), "connections are closed")
            held.append((rss_bytes(service.process.pid), descriptors(service.process.pid)))
        assert held[1][0] - held[0][0] <= 8 * MIB
        assert held[1][1] <= held[0][1]
