"""Fuzzing for as many cases as PLTV_FUZZ_CASES says, and what the process holds meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.stress.measures import THRESHOLDS, descriptors, rss_bytes, slope
from tests.support.fuzzing import ask_by_the_document, ask_hostile_bodies
from tests.support.service_process import serving_process

pytestmark = pytest.mark.stress
CASES = int(os.environ.get("PLTV_FUZZ_CASES", "50000"))
LOOKS = 200


def test_fuzz(shop: Path) -> None:
    """No 5xx, no hang, and memory and descriptors stay what they are.

    The near cache, which would fill up to its bound with the users that the cases make up, holds a megabyte.
    """
    at: list[float] = []
    rss: list[float] = []
    files: list[int] = []
    with serving_process(shop, PLTV_NEAR_BYTES="1000000") as service:
        pid = service.process.pid

        def look(asked: int) -> None:
            if asked % max(1, CASES // LOOKS) == 0:
                at.append(asked)
                rss.append(rss_bytes(pid))
                files.append(descriptors(pid))

        asked = ask_hostile_bodies(service, CASES, look)
        settled = 2 * len(at) // 5
        growth = 1000.0 * slope(at[settled:], rss[settled:])
        print(f"\n{asked} hostile bodies: RSS {rss[settled] / 1e6:.1f}→{rss[-1] / 1e6:.1f} MB, {growth / 1e3:+.1f} kB")
        print(f"a thousand cases after the first two fifths; descriptors {files[settled]}→{files[-1]}")
        operations = ask_by_the_document(service, CASES // 80)
        print(f"and {max(10, CASES // 80)} cases of each of {operations} operations of the OpenAPI document")
        assert asked >= CASES
        assert operations >= 8
        assert growth <= THRESHOLDS["fuzz"]["rss_bytes_a_thousand_cases"]
        assert files[-1] - files[settled] <= THRESHOLDS["fuzz"]["descriptors"]
        assert "unexpected error" not in service.output
