"""The bodies that every benchmark sends. A seed enters, two corpora of `/predict` bodies leave.

`natural` is what `pltv generate --requests` writes: the mix of new, light and heavy users as they come. `full` is the
heavy case: histories in which every field is filled, about 4 KB. Those are put together from the natural ones:
the user's own history, each field that it lacks from another user, then whole further users until the size is reached.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import random
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training.data import synthetic

Body = dict[str, Any]
History = dict[str, Any]

SEED: Final = 90_210
NATURAL: Final = 10_000
FULL: Final = 2_000
FULL_BYTES: Final = (3_800, 4_600)
"""Least and most bytes of a full body."""

_START: Final = datetime.date(2025, 10, 8)  # after the days that the demonstration bundle was trained on
_HOURS: Final = 24
_HOUR_S: Final = 3_600
_AUTHORISED: Final = 3  # Apple's App Tracking Transparency: the history may be used
_SOURCES: Final = (Path(__file__), *sorted(Path(synthetic.__file__).parent.glob("*.py")))


@dataclass(frozen=True, slots=True)
class Corpora:
    """Bodies with one campaign and their history inline, in a seeded order.

    Parameters
    ----------
    natural, full : list of dict
    """

    natural: list[Body]
    full: list[Body]

    def named(self) -> dict[str, list[Body]]:
        """Both, by their names in results and thresholds."""
        return {"natural": self.natural, "full": self.full}


class Rotation:
    """Bodies one after the other, from the first again after the last: repeating one would flatter every cache.

    Parameters
    ----------
    bodies : sequence of bytes, at least one
    """

    def __init__(self, bodies: Sequence[bytes]) -> None:
        if not bodies:
            raise ValueError("rotation: expected at least one body")
        self._bodies = bodies
        self._next = 0

    def take(self, n: int) -> Iterator[bytes]:
        """The next n."""
        for _ in range(n):
            place, self._next = self._next, (self._next + 1) % len(self._bodies)
            yield self._bodies[place]


def corpora(directory: Path) -> Corpora:
    """Generate both corpora, or read what an earlier run of the same sources left.

    Parameters
    ----------
    directory : Path
        Where they are kept, by the hash of what they were made with.
    """
    place = directory / f"corpora-{_fingerprint()}"
    if not (place / "full.jsonl").exists():
        for old in directory.glob("corpora-*"):
            shutil.rmtree(old)
        place.mkdir(parents=True)
        natural = _generated(place)
        write(place / "natural.jsonl", natural)
        write(place / "full.jsonl", full_bodies(natural, FULL, random.Random(SEED)))
    return Corpora(read(place / "natural.jsonl"), read(place / "full.jsonl"))


def full_bodies(natural: Sequence[Body], n: int, rng: random.Random) -> list[Body]:
    """Bodies whose history has every field that any of `natural` has, each of `FULL_BYTES`."""
    donors = [_as_object({field: h[field] for field in _filled(h)}) for h in map(history_of, natural) if h]
    by_field: dict[str, list[History]] = {}
    for donor in donors:
        for field in _filled(donor):
            by_field.setdefault(field, []).append(donor)
    known = [body for body in natural if history_of(body)]
    found: list[Body] = []
    while len(found) < n:
        body = _with_history(rng.choice(known), lambda own: _complete(own, by_field, donors, rng))
        if FULL_BYTES[0] <= len(encode(body)) <= FULL_BYTES[1]:
            found.append(body)
    return found


def with_campaigns(bodies: Sequence[Body], n: int, rng: random.Random) -> list[Body]:
    """The same bodies with n different campaigns each, the user's own first."""
    pool = list({c["id"]: c for body in bodies for c in body["ext"]["campaigns"]}.values())
    if len(pool) < n:
        raise ValueError(f"campaigns: expected {n} different ones among the bodies, found {len(pool)}")
    result = []
    for body in bodies:
        own = body["ext"]["campaigns"][:1]
        others = [c for c in rng.sample(pool, n) if c["id"] != own[0]["id"]]
        result.append({**body, "ext": {**body["ext"], "campaigns": [*own, *others][:n]}})
    return result


def with_identity(bodies: Sequence[Body], rng: random.Random) -> list[Body]:
    """The same bodies with an advertising id each, tracking allowed, so that a stored history may be found by it."""
    return [
        {**body, "device": {**_allowed(body["device"]), "ifa": str(uuid.UUID(int=rng.getrandbits(128), version=4))}}
        for body in bodies
    ]


def without_history(bodies: Sequence[Body]) -> list[Body]:
    """The same bodies, their history neither inline nor named."""
    return [{key: value for key, value in body.items() if key != "user"} for body in bodies]


def stored_users(bodies: Sequence[Body]) -> list[Body]:
    """The entries of `POST /features` that store each body's history under its advertising id, an hour old."""
    return [
        {"ifa": body["device"]["ifa"], "history": {**history_of(body), "as_of": body["ext"]["ts"] - _HOUR_S}}
        for body in bodies
    ]


def batch_bodies(bodies: Sequence[bytes], size: int) -> list[bytes]:
    """Bodies of `/predict/batch`, `size` requests each; what is left over is repeated from the front."""
    whole = [*bodies, *bodies[: -len(bodies) % size]]
    return [joined("requests", whole[start : start + size]) for start in range(0, len(whole), size)]


def joined(name: str, parts: Sequence[bytes]) -> bytes:
    """One JSON object with one array of what is already JSON."""
    return b'{"%s":[%s]}' % (name.encode(), b",".join(parts))


def history_of(body: Body) -> History:
    """The inline history, empty where there is none."""
    history: History = body.get("user", {}).get("ext", {}).get("history") or {}
    return history


def encode(body: Body) -> bytes:
    """Compact JSON in UTF-8, as a bidder sends it."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def write(path: Path, bodies: Sequence[Body]) -> None:
    """One body a line."""
    write_lines(path, [encode(body) for body in bodies])


def write_lines(path: Path, bodies: Sequence[bytes]) -> None:
    """One body a line, in one step, so that an interrupted run leaves no half of a corpus."""
    part = path.with_suffix(".part")
    part.write_bytes(b"\n".join(bodies) + b"\n")
    part.rename(path)


def read(path: Path) -> list[Body]:
    """What `write` wrote."""
    return [json.loads(line) for line in read_lines(path)]


def read_lines(path: Path) -> list[bytes]:
    """What `write_lines` wrote."""
    return path.read_bytes().splitlines()


def _generated(place: Path) -> list[Body]:
    """The generator's rows in a seeded order, its hours mixed."""
    lines = place / "generated.jsonl"
    synthetic.generate(NATURAL, place / "rows", seed=SEED, start=_START, hours=_HOURS, requests=lines)
    bodies = read(lines)
    random.Random(SEED).shuffle(bodies)
    shutil.rmtree(place / "rows")
    lines.unlink()
    return bodies


def _fingerprint() -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:12]


def _with_history(body: Body, change: Callable[[History], History]) -> Body:
    user, ext = body["user"], body["user"]["ext"]
    history = change(history_of(body))
    return {**body, "device": _allowed(body["device"]), "user": {**user, "ext": {**ext, "history": history}}}


def _allowed(device: Body) -> Body:
    return {**device, "ext": {**device.get("ext", {}), "atts": _AUTHORISED}}


def _complete(
    own: History, by_field: dict[str, list[History]], donors: Sequence[History], rng: random.Random
) -> History:
    history = _as_object({field: own[field] for field in _filled(own)})
    for field in by_field:
        if field not in history:
            history[field] = rng.choice(by_field[field])[field]
    # What is not history takes about 500 bytes of a body.
    while len(encode(history)) < FULL_BYTES[0] - 400:
        history = _merge(history, rng.choice(donors))
    # As the user's own was written, so that maps written as pairs are as frequent as in the natural mix.
    return {field: _as_pairs(value) for field, value in history.items()} if _in_pairs(own) else history


def _merge(one: Any, other: Any) -> Any:
    """Maps and lists joined; where both have a value, the first one's."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {**other, **{key: _merge(value, other.get(key)) for key, value in one.items()}}
    if isinstance(one, list) and isinstance(other, list):
        return list(dict.fromkeys([*one, *other]))
    return one


def _as_object(value: Any) -> Any:
    """A map that was written as pairs as the object that it means, on either level."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        value = dict(value)
    return {key: _as_object(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _as_pairs(value: Any) -> Any:
    """The other way round."""
    return [[key, _as_pairs(inner)] for key, inner in value.items()] if isinstance(value, dict) else value


def _in_pairs(history: History) -> bool:
    return any(isinstance(value, list) and value and isinstance(value[0], list) for value in history.values())


def _filled(history: History) -> list[str]:
    return [field for field, value in history.items() if value is not None and value != {} and value != []]
