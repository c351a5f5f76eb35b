"""The bodies: seeded, rotating, valid, and as large as they claim."""

from __future__ import annotations

import datetime
import json
import random
from pathlib import Path

import pytest
import yaml

from app.api.openrtb import Reader
from app.api.privacy import Gate
from app.features.layout import Layout
from app.features.spec import Declaration
from loadtests import payloads
from loadtests.payloads import Body, Rotation, encode, history_of
from tests.support.market import ROOT
from training.data import synthetic

DECLARATION = Declaration.from_dict(yaml.safe_load((ROOT / "config" / "smadex.yaml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def natural(tmp_path_factory: pytest.TempPathFactory) -> list[Body]:
    """A few generated bodies."""
    place = tmp_path_factory.mktemp("bodies")
    lines = place / "requests.jsonl"
    synthetic.generate(600, place / "rows", seed=3, start=datetime.date(2025, 10, 8), hours=2, requests=lines)
    return payloads.read(lines)


@pytest.fixture(scope="module")
def full(natural: list[Body]) -> list[Body]:
    """Full histories made of them."""
    return payloads.full_bodies(natural, 20, random.Random(1))


def _is_map(value: object) -> bool:
    """Whether a value is a map, in either form."""
    return isinstance(value, dict) or (isinstance(value, list) and value != [] and isinstance(value[0], list))


def _read(body: Body) -> object:
    reader = Reader(Layout(DECLARATION), Gate(None, frozenset({1, 3, 4})))
    return reader.read(encode(body), body["ext"]["ts"])


def test_rotation_sends_every_body_before_any_again() -> None:
    """Bodies come in turn over calls of any length."""
    rotation = Rotation([b"a", b"b", b"c"])
    assert [*rotation.take(2), *rotation.take(0), *rotation.take(5)] == [b"a", b"b", b"c", b"a", b"b", b"c", b"a"]


def test_rotation_goes_on_after_a_body_that_was_taken_alone() -> None:
    """A body counts as sent once it was handed out, whether or not the rest of the call is."""
    rotation = Rotation([b"a", b"b"])
    assert [next(rotation.take(5)), next(rotation.take(1))] == [b"a", b"b"]


def test_rotation_needs_a_body() -> None:
    """An empty file of bodies is a mistake, told at once."""
    with pytest.raises(ValueError, match="at least one"):
        Rotation([])


def test_full_histories_fill_every_declared_field_in_about_4_kb(natural: list[Body], full: list[Body]) -> None:
    """A full body lacks no field that the generator knows, and its size is within the stated bounds."""
    known = {field for body in natural for field, value in history_of(body).items() if value not in (None, {}, [])}
    assert known <= {column.name for column in DECLARATION.scope("user")}
    for body in full:
        assert {field for field, value in history_of(body).items() if value not in (None, {}, [])} == known
        assert payloads.FULL_BYTES[0] <= len(encode(body)) <= payloads.FULL_BYTES[1]


def test_a_full_history_is_written_in_one_way(natural: list[Body]) -> None:
    """Maps are all objects or all pairs, and pairs are as frequent as in the natural mix: one user in eight."""
    full = payloads.full_bodies(natural, 60, random.Random(4))
    forms = [{type(v) for v in history_of(body).values() if _is_map(v)} for body in full]
    assert all(len(form) == 1 for form in forms)
    assert 0.0 < sum(form == {list} for form in forms) / len(forms) < 0.35


def test_full_bodies_depend_on_the_seed_alone(natural: list[Body]) -> None:
    """The same seed gives the same bodies, another seed others."""
    first, again, other = (payloads.full_bodies(natural, 3, random.Random(seed)) for seed in (5, 5, 6))
    assert first == again != other


def test_every_body_is_answered_with_its_history(full: list[Body]) -> None:
    """The service reads full bodies as valid and may use their history: none is withheld."""
    for body in full:
        call = _read(body)
        assert getattr(call, "withheld", "?") is None
        assert getattr(call, "history", None) is not None


def test_sixteen_campaigns_are_different_and_the_own_comes_first(natural: list[Body]) -> None:
    """No campaign is asked twice in one body."""
    for before, after in zip(natural, payloads.with_campaigns(natural, 16, random.Random(0)), strict=True):
        ids = [campaign["id"] for campaign in after["ext"]["campaigns"]]
        assert len(set(ids)) == 16
        assert ids[0] == before["ext"]["campaigns"][0]["id"]


def test_more_campaigns_than_there_are_is_refused(natural: list[Body]) -> None:
    """A corpus with too few campaigns cannot make such bodies."""
    with pytest.raises(ValueError, match="campaigns"):
        payloads.with_campaigns(natural[:1], 2, random.Random(0))


def test_identities_name_one_user_each_and_leave_the_body_alone(full: list[Body]) -> None:
    """Every body gets an advertising id of its own; without its history it still has it."""
    known = payloads.with_identity(full, random.Random(2))
    assert len({body["device"]["ifa"] for body in known}) == len(full)
    assert [history_of(body) for body in known] == [history_of(body) for body in full]
    for asked, user in zip(payloads.without_history(known), payloads.stored_users(known), strict=True):
        assert history_of(asked) == {}
        assert asked["device"]["ifa"] == user["ifa"]
        assert user["history"]["as_of"] < asked["ext"]["ts"]


def test_batches_hold_every_body_and_are_all_of_one_size() -> None:
    """What is left over is filled up from the front."""
    batches = [json.loads(batch)["requests"] for batch in payloads.batch_bodies([b"1", b"2", b"3"], 2)]
    assert batches == [[1, 2], [3, 1]]


def test_lines_survive_the_file(tmp_path: Path, full: list[Body]) -> None:
    """A body holds no line break, whatever its texts hold."""
    body = {**full[0], "id": "a\nb\u2028c"}
    payloads.write(tmp_path / "x.jsonl", [body, *full])
    assert payloads.read(tmp_path / "x.jsonl") == [body, *full]
