"""Writes docs/capacity.md: what a load needs, computed from what a request costs. docs/capacity.json holds the inputs.

    python scripts/capacity.py                                   # the page anew, from the inputs as they are
    python scripts/capacity.py --requests r.jsonl                # measure the sizes first (pltv generate --requests)
    python scripts/capacity.py --bench loadtests/results/bench-….json   # what a request costs, from a run of make bench
    python scripts/capacity.py --set session_gap_s=35 --by "bid log of October"

An input that nobody has measured is an assumption; every section of the page names those that it rests on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from load_model import BILLION, KINDS, Capacity, Input, gbit_s
from sizes import measure

DOCS: Final = Path(__file__).parent.parent / "docs"
RATES: Final = (1_000, 10_000, 50_000, 100_000)
_LEVER_RATE: Final = 10_000


def page(inputs: Mapping[str, Input]) -> str:
    """The whole page."""
    capacity = Capacity(inputs)
    parts = [_opening()]
    for section, names in _SECTIONS.items():
        parts += [section(capacity), _assumed(inputs, names)]
    return "\n".join(filter(None, (*parts, _inputs(inputs))))


def _opening() -> str:
    return """\
# Capacity

Written by `scripts/capacity.py` from [capacity.json](capacity.json); do not edit it by hand. Measure the inputs on your
own machines and traffic, write the page anew, and its figures are yours. Where a section rests on something that nobody
has measured yet, it says so; the table at the end says how each input is measured.
"""


def _assumed(inputs: Mapping[str, Input], names: Sequence[str]) -> str:
    found = [f"`{name}`" for name in names if inputs[name].assumed(KINDS[name])]
    return f"**Assumed, not measured: {', '.join(found)}.**\n" if found else ""


def _workers(c: Capacity) -> str:
    needed = [(rate, c.workers(rate)) for rate in RATES]
    rows = [(f"{rate:,}", f"{n}", f"{n * c.worker_gb():.1f} GB") for rate, n in needed]
    return f"""\
## Workers

A worker is one event loop on one core. At {c["cost_us"]:.0f} µs a request and {c["utilisation"]:.0%} of the core it
takes {c.worker_rate():,.0f} requests a second.

{_table(("requests/s", "workers (cores)", "their memory"), rows)}
Workers share nothing but Redis: twice the workers take twice the requests. Their memory is {c["worker_rss_mb"]:.0f} MB
after load and a full near cache on top. Part of that cache is in the first figure already, and the pages of a bundle's
libraries are shared between the workers of one machine, so that it is an upper bound.
"""


def _redis(c: Capacity) -> str:
    rows = [(f"{users:g} million", f"{c.redis_gb(users * 1e6):.1f} GB") for users in (1, 10, 50, 100)]
    return f"""\
## Redis memory

A history of {c["history_json_bytes"]:,.0f} bytes of JSON is packed into {c["packed_bytes"]:,.0f}, and takes
{c["redis_user_bytes"]:,.0f} in Redis with its key, its expiry and the tables:
**{c.redis_gb(1e6) * c["redis_fill"]:.2f} GB a million users**. Where histories may take {c["redis_fill"]:.0%} of it:

{_table(("users", "`maxmemory`"), rows)}
With `allkeys-lru` a smaller Redis works as well and keeps the users that were seen last; the rest is answered as
`unavailable`. Erasure markers are kept in it too, and are evicted like anything else: give it the memory if erasures
are to outlive late writes. The service talks to one endpoint; it is no client of a Redis Cluster.
"""


def _routing(c: Capacity) -> str:
    rows = []
    for rate in RATES:
        hits = [c.near_hits(rate, affine) for affine in (False, True)]
        reads = [rate * (1 - hit) for hit in hits]
        rows.append((f"{rate:,}", f"{c.workers(rate)}", *(f"{h:.1%}" for h in hits), *(f"{r:,.0f}" for r in reads)))
    heads = ("requests/s", "workers", "near hits, random", "near hits, by user", "Redis reads/s, random", "by user")
    return f"""\
## Near cache: random or by user

For calls that bring no history. A session of a user is {c["session_requests"]:g} requests,
{c["session_gap_s"]:g} s apart in the mean; a worker trusts an entry for {c["near_ttl_s"]:g} s and holds
{c["near_bytes"] / 2**20:g} MiB. An entry takes {c["near_packed_bytes"]:,.0f} bytes, once it was hit
{c["near_parsed_bytes"]:,.0f}. Simulated:

{_table(heads, rows)}
Routed at random, a user's next call finds the worker that holds the history only once in so many calls as there are
workers. [haproxy.cfg](../deploy/balancer/haproxy.cfg) hashes a header that the caller sends onto a ring of instances
instead. It works by address, so give every worker its own: one worker an instance, as deploy/kubernetes does.

Memory and trust are the other two levers. {_LEVER_RATE:,} requests a second, routed by user:

{_levers(c)}
Longer trust (`PLTV_NEAR_TTL_S`) has a price: for as long, a history that another worker received goes unseen. Erasures
do not wait for it. `PLTV_NEAR_BYTES` adds to the memory of every worker.
"""


def _levers(c: Capacity) -> str:
    trusts = (60, 300, 900)
    rows = [
        (f"{mib} MiB", *(f"{c.near_hits(_LEVER_RATE, True, mib, trust):.1%}" for trust in trusts))
        for mib in (64, 256, 1024)
    ]
    return _table(("near cache a worker", *(f"trusted {trust} s" for trust in trusts)), rows)


def _network(c: Capacity) -> str:
    rows = [
        (
            f"{rate:,}",
            f"{gbit_s(rate, c['bare_request_bytes'] + c['history_json_bytes']):.2f}",
            f"{gbit_s(rate, c['history_json_bytes']):.2f}",
            f"{gbit_s(rate * (1 - c.near_hits(rate, True)), c['packed_bytes']):.2f}",
        )
        for rate in RATES
    ]
    heads = ("requests/s", "requests with history", "of it the histories", "from Redis instead, routed by user")
    return f"""\
## Network of histories

Whoever sends histories inline needs no Redis, and pays in bytes: a request of {c["bare_request_bytes"]:,.0f} bytes
carries {c["history_json_bytes"]:,.0f} more. In Gbit/s:

{_table(heads, rows)}"""


def _dollars(c: Capacity) -> str:
    rate, users = 10_000, 10e6
    inline, packed = c.network_dollars(c["history_json_bytes"]), c.network_dollars(c["packed_bytes"])
    packed *= 1 - c.near_hits(rate, True)
    rows = [
        ("workers", f"{c.core_dollars():.2f}", f"{c['cost_us']:.0f} µs each at {c['utilisation']:.0%} of a core"),
        ("Redis", f"{c.redis_dollars(users, rate):.2f}", f"{users / 1e6:g} million users, for the time it takes"),
        ("histories inline, between zones", f"{inline:.2f}", "nothing within a zone"),
        ("histories from Redis, between zones", f"{packed:.2f}", "routed by user; nothing within a zone"),
    ]
    return f"""\
## Dollars per billion requests

At {rate:,} requests a second, where a billion takes {BILLION / rate / 3600:.0f} hours:

{_table(("", "$", "of which"), rows)}"""


_SESSION: Final = ("session_requests", "session_gap_s", "near_packed_bytes", "near_parsed_bytes")
_SECTIONS: Final[Mapping[Callable[[Capacity], str], Sequence[str]]] = {
    _workers: ("cost_us", "worker_rss_mb", "near_bytes"),
    _redis: ("history_json_bytes", "packed_bytes", "redis_user_bytes"),
    _routing: ("cost_us", *_SESSION),
    _network: ("cost_us", "bare_request_bytes", "history_json_bytes", "packed_bytes", *_SESSION),
    _dollars: ("cost_us", "redis_user_bytes", "history_json_bytes", "packed_bytes", *_SESSION),
}
"""A section → the inputs that its figures rest on."""


def _inputs(inputs: Mapping[str, Input]) -> str:
    rows = []
    for name, kind in KINDS.items():
        given = inputs[name]
        basis = given.by or (f"chosen: {kind.how}" if kind.chosen else f"**assumed**; measure it: {kind.how}")
        rows.append((f"`{name}`", kind.meaning, f"{given.value:,.6g} {kind.unit}".strip(), basis))
    return f"## Inputs\n\n{_table(('input', 'meaning', 'value', 'basis'), rows)}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def read_inputs(path: Path) -> dict[str, Input]:
    """The inputs of a file, all of them and no others.

    Raises
    ------
    SystemExit
        In one line.
    """
    raw = json.loads(path.read_text(encoding="utf-8"))
    if set(raw) != set(KINDS):
        raise SystemExit(f"capacity: {path} must hold exactly these inputs: {', '.join(KINDS)}")
    return {name: Input(**raw[name]) for name in KINDS}


def benched(path: Path) -> tuple[dict[str, float], str]:
    """What a run of `make bench` measured of the inputs, and how to call it.

    Raises
    ------
    SystemExit
        In one line, where the file is no such run, or one without the scenarios `http` and `cost`.
    """
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        metrics, cpu = run["metrics"], run["machine"]["cpu"]
        values = {
            "cost_us": 1e6 / metrics["http.ours_requests_per_s"]["natural"],
            "worker_rss_mb": max(metrics["cost.rss_mb"].values()),
        }
        verb = "make bench BENCH_ARGS=--quick" if run["quick"] else "make bench"
        return values, f"measured by `{verb}` of {run['at'][:10]} on a core of {cpu}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"capacity: {path}: expected results of make bench with http and cost ({error!r})") from None


def changed(inputs: Mapping[str, Input], values: Mapping[str, float], by: str) -> dict[str, Input]:
    """The inputs with new values, all of them measured by `by`, or chosen."""
    unknown = set(values) - set(KINDS)
    if unknown:
        raise SystemExit(f"capacity: no such input: {', '.join(sorted(unknown))}")
    return {**inputs, **{name: Input(value, by) for name, value in values.items()}}


def _setting(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write docs/capacity.md from docs/capacity.json.")
    parser.add_argument("--requests", type=Path, help="bodies of /predict, one a line: measure the sizes from them")
    parser.add_argument("--bench", type=Path, help="results of make bench, as JSON: cost and memory from them")
    parser.add_argument("--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="an input")
    parser.add_argument("--by", default="", help="what measured it; without it a set input is assumed, or chosen")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where capacity.json and capacity.md lie (%(default)s)")
    arguments = parser.parse_args(argv)
    inputs = read_inputs(arguments.docs / "capacity.json")
    if arguments.requests is not None:
        lines = arguments.requests.read_text(encoding="utf-8").splitlines()
        told = {name: round(value, 1) for name, value in measure(lines).items()}
        inputs = changed(inputs, told, f"measured on {len(lines):,} requests of `{arguments.requests.name}`")
    if arguments.bench is not None:
        values, by = benched(arguments.bench)
        inputs = changed(inputs, {name: round(value, 1) for name, value in values.items()}, by)
    inputs = changed(inputs, dict(arguments.set), arguments.by)
    raw = json.dumps({name: asdict(given) for name, given in inputs.items()}, indent=2, ensure_ascii=False)
    (arguments.docs / "capacity.json").write_text(raw + "\n", encoding="utf-8")
    (arguments.docs / "capacity.md").write_text(page(inputs), encoding="utf-8")


if __name__ == "__main__":
    main()
