"""`golden.jsonl`: raw requests and what the bundle answered when it was made; replayed before it goes live.

A line is `{"input": request, "expected": [{"p_buyer": …, "ltv": […], "log_mean": …, "multiplier": …}, …]}`, an answer a
campaign; the multiplier there is that of an advertiser without a reference of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from app.errors import BundleCorrupt
from app.inference.ensemble import Predictions

OTHER_PROCESSOR: Final = 1e-12  # relative: what two processors' exp and log may make of the same row

Answer = Callable[[Mapping[str, Any]], Predictions]


def golden_line(request: Mapping[str, Any], predictions: Predictions) -> str:
    """Return the line, without its end, of a request and the predictions of its campaigns."""
    return json.dumps({"input": request, "expected": _answers(predictions)}, separators=(",", ":"))


def replay(path: Path, answer: Answer, tolerance: float = 0.0) -> None:
    """Answer every line of `golden.jsonl` anew and compare.

    Parameters
    ----------
    path : Path
        The file.
    answer : callable
        Request → predictions, one a campaign.
    tolerance : float
        Relative; 0 compares bits.

    Raises
    ------
    BundleCorrupt
        Naming the row and the field that disagree; also where there is no row, which would prove nothing.
    """
    lines = path.read_bytes().splitlines()
    if not lines:
        raise BundleCorrupt(f"{path.name}: expected rows, received none")
    for number, line in enumerate(lines, start=1):
        request, expected = _parse(path.name, number, line)
        received = _answers(answer(request))
        if len(expected) != len(received):
            raise BundleCorrupt(
                f"{path.name}: row {number}: expected {len(expected)} campaigns, received {len(received)}"
            )
        for campaign, (was, now) in enumerate(zip(expected, received, strict=True)):
            for field, value in now.items():
                if not _equal(was.get(field), value, tolerance):
                    raise BundleCorrupt(
                        f"{path.name}: row {number}, campaign {campaign}, {field}: "
                        f"expected {was.get(field)!r}, received {value!r}"
                    )


def renew(path: Path, answer: Answer) -> None:
    """Replay within `OTHER_PROCESSOR`, then write the answers of this machine in place of the old ones.

    Raises
    ------
    BundleCorrupt
        As `replay`; the file is unchanged.
    """
    replay(path, answer, OTHER_PROCESSOR)
    requests = [_parse(path.name, i, line)[0] for i, line in enumerate(path.read_bytes().splitlines(), start=1)]
    write_golden(path, (golden_line(request, answer(request)) for request in requests))


def write_golden(path: Path, lines: Iterable[str]) -> None:
    """Write the lines of `golden_line` to `golden.jsonl`."""
    path.write_text("".join(f"{line}\n" for line in lines))


def _answers(predictions: Predictions) -> list[dict[str, Any]]:
    p = predictions
    rows = zip(p.p_buyer.tolist(), p.ltv.tolist(), p.log_mean.tolist(), p.multiplier.tolist(), strict=True)
    return [{"p_buyer": buyer, "ltv": ltv, "log_mean": log, "multiplier": m} for buyer, ltv, log, m in rows]


def _parse(name: str, number: int, line: bytes) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    try:
        obj = json.loads(line)
        return obj["input"], list(obj["expected"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleCorrupt(f"{name}: row {number}: {type(error).__name__}: {error}") from error


def _equal(was: Any, now: Any, tolerance: float) -> bool:
    if isinstance(now, list):
        return (
            isinstance(was, list)
            and len(was) == len(now)
            and all(_equal(a, b, tolerance) for a, b in zip(was, now, strict=True))
        )
    return isinstance(was, float) and (was == now or math.isclose(was, now, rel_tol=tolerance, abs_tol=0.0))
