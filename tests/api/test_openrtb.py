"""Tests of app.api.openrtb and app.api.schemas with the declaration of config/smadex.yaml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.api.openrtb import Call, Reader, Readers, country, identity
from app.api.privacy import Gate
from app.api.schemas import request_model
from app.errors import InputError
from app.features.histories import HistoryShape, HistoryTwin
from app.features.history import parse_history
from app.features.layout import Layout
from app.features.native import Library
from app.features.spec import Declaration
from training.publishing.codegen import compile_features

TS = 1_759_503_600
SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "openrtb"


@pytest.fixture(scope="module", params=["python", "compiled"])
def reader(request: pytest.FixtureRequest, smadex: Declaration, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A reader of the Smadex declaration: by Python alone, and with the compiled reader of histories."""
    layout = Layout(smadex)
    if request.param == "compiled":
        library = tmp_path_factory.mktemp("twin") / "features.so"
        compile_features(library)
        layout.histories = HistoryTwin(Library(library), layout, HistoryShape(layout))
    return Reader(layout, Gate(10, frozenset({1, 3, 4})))


def bid(**changes: Any) -> dict[str, Any]:
    """A small valid bid request."""
    return {"id": "r", "imp": [{"id": "1"}], "ext": {"ts": TS, "campaigns": [{"id": "c"}]}, **changes}


def read(reader: Reader, **changes: Any) -> Call:
    """The request with some parts changed, through bytes."""
    return reader.read(json.dumps(bid(**changes)).encode(), 1e9)


def refused(reader: Reader, **changes: Any) -> InputError:
    """The error of a request that must be refused."""
    with pytest.raises(InputError) as caught:
        read(reader, **changes)
    return caught.value


def test_request_columns_come_from_their_places(reader: Reader) -> None:
    """The table of the wire format, the formats included."""
    device = {
        "make": "Apple",
        "model": "iPhone",
        "os": "iOS",
        "osv": "14.4",
        "language": "en",
        "carrier": "T-Mobile",
        "geo": {"country": "ESP", "region": "MD", "lat": 1.5},
        "ext": {"release_date": "2021_january", "release_msrp": 849},
    }
    assert read(reader, device=device).request == {
        "dev_make": "Apple",
        "dev_model": "iPhone",
        "dev_os": "ios",
        "dev_osv": "14.4",
        "dev_language": "en",
        "carrier": "T-Mobile",
        "country": "es",
        "region": "MD",
        "release_date": "2021_january",
        "release_msrp": 849.0,
    }


def test_absent_and_null_are_the_same(reader: Reader) -> None:
    """Nothing is known either way, and nothing is invented."""
    nothing = {"device": None, "user": None, "regs": None, "tmax": None}
    assert read(reader, **nothing).request == read(reader).request == {}
    assert read(reader, device={"geo": None, "make": None}).request == {}


@pytest.mark.parametrize(
    ("text", "expected"), [("USA", "us"), ("usa", "us"), ("US", "us"), ("gb", "gb"), ("XKX", "xkx"), ("", "")]
)
def test_countries(text: str, expected: str) -> None:
    """Alpha-3 becomes alpha-2; what is no alpha-3 stays, in lower case."""
    assert country(text) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("AA-BB", "u", "b"), "ifa:aa-bb"),
        ((" aa-bb ", None, None), "ifa:aa-bb"),
        (("00000000-0000-0000-0000-000000000000", None, None), None),
        (("00000000-0000-0000-0000-000000000000", "u", None), "user_id:u"),
        (("", None, "b"), "user_id:b"),
        ((None, "", ""), None),
    ],
)
def test_identities(names: tuple[str | None, ...], expected: str | None) -> None:
    """The ifa, else the user's id; an empty or all-zero ifa is none."""
    assert identity(*names) == expected


def test_the_clock(reader: Reader) -> None:
    """Now is the hour's floor of ext.ts, else of the server's clock."""
    assert read(reader, ext={"ts": TS + 3599.5, "campaigns": [{"id": "c"}]}).now == TS
    assert read(reader, ext={"campaigns": [{"id": "c"}]}).now == 1_000_000_000 // 3600 * 3600
    for ts in (-1, 4_102_444_801, 1e300, "1759503600", True):
        assert refused(reader, ext={"ts": ts, "campaigns": [{"id": "c"}]}).field == "ext.ts"


def test_a_history_may_be_an_hour_ahead_and_no_more(reader: Reader) -> None:
    """Beyond that its as_of is a mistake."""
    assert read(reader, user={"ext": {"history": {"as_of": TS + 3600}}}).history is not None
    error = refused(reader, user={"ext": {"history": {"as_of": TS + 3601}}})
    assert error.field == "user.ext.history.as_of"


def test_maps_are_objects_or_pairs(reader: Reader, layout: Layout) -> None:
    """Both ways, nested or not, and mixed, are the same history."""
    one = {"cpm": {"a": 1, "b": 2.5}, "user_actions_bundles_action_count": {"x": {"k": 1}, "y": {}}}
    other = {"cpm": [["a", 1.0], ["b", 2.5]], "user_actions_bundles_action_count": [["x", [["k", 1]]], ["y", {}]]}
    first, second = (read(reader, user={"ext": {"history": h}}).history for h in (one, other))
    assert first is not None
    assert second is not None
    assert first.packed == second.packed


def test_an_empty_history_is_not_an_absent_one(reader: Reader) -> None:
    """Nothing but nulls is a known new user; null is nothing."""
    for sent in ({}, {"as_of": TS}, {"cpm": None, "last_buy": None}):
        history = read(reader, user={"ext": {"history": sent}}).history
        assert history is not None
        assert history.empty
    assert read(reader, user={"ext": {"history": None}}).history is None
    known = read(reader, user={"ext": {"history": {"cpm": {}}}}).history
    assert known is not None
    assert not known.empty


def test_withholding_takes_history_and_identity(reader: Reader) -> None:
    """Neither is used further, but both must still be valid."""
    call = read(reader, device={"lmt": 1, "ifa": "aa"}, user={"id": "u", "ext": {"history": {"cpm": {"a": 1}}}})
    assert (call.withheld, call.history, call.identity) == ("lmt", None, None)
    assert refused(reader, device={"lmt": 1}, user={"ext": {"history": {"cpm": 1}}}).field == "user.ext.history.cpm"


def test_one_bad_campaign_spoils_no_other(reader: Reader) -> None:
    """Each is validated alone, and keeps its place."""
    entries = [{"id": "a"}, 5, {"id": 7}, {"id": "d", "advertiser_category": 3}, {"id": "e", "advertiser_bundle": None}]
    call = read(reader, ext={"campaigns": entries})
    assert [campaign["id"] for campaign in call.campaigns] == ["a", "e"]
    assert {place: (name, error.field) for place, (name, error) in call.refused.items()} == {
        1: (None, "ext.campaigns.1"),
        2: (None, "ext.campaigns.2.id"),
        3: ("d", "ext.campaigns.3.advertiser_category"),
    }


@pytest.mark.parametrize("campaigns", [None, [], {}, "c", [{"id": "c"}] * 65])
def test_campaigns_must_be_one_to_sixty_four(reader: Reader, campaigns: Any) -> None:
    """As a whole the list is a part of the request."""
    assert refused(reader, ext={"campaigns": campaigns}).field == "ext.campaigns"
    assert len(read(reader, ext={"campaigns": [{"id": "c"}] * 64}).campaigns) == 64


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("id", {"id": None}),
        ("id", {"id": 5}),
        ("imp", {"imp": None}),
        ("imp", {"imp": []}),
        ("imp.0", {"imp": ["1"]}),
        ("imp.0.id", {"imp": [{}]}),
        ("imp.1.id", {"imp": [{"id": "1"}, {"id": None}]}),
        ("ext", {"ext": None}),
        ("device", {"device": []}),
        ("device.make", {"device": {"make": 5}}),
        ("device.geo", {"device": {"geo": "x"}}),
        ("device.geo.country", {"device": {"geo": {"country": 34}}}),
        ("device.lmt", {"device": {"lmt": True}}),
        ("device.lmt", {"device": {"lmt": "1"}}),
        ("device.ext.release_msrp", {"device": {"ext": {"release_msrp": "849"}}}),
        ("device.ext.release_msrp", {"device": {"ext": {"release_msrp": True}}}),
        ("tmax", {"tmax": 1.5}),
        ("tmax", {"tmax": 10**400}),
        ("ext.deadline_ms", {"ext": {"deadline_ms": -1, "campaigns": [{"id": "c"}]}}),
        ("regs.gpp_sid.0", {"regs": {"gpp_sid": ["7"]}}),
        ("user.consent", {"user": {"consent": 1}}),
        ("user.ext.history", {"user": {"ext": {"history": []}}}),
        ("user.ext.history.avg_act_days", {"user": {"ext": {"history": {"avg_act_days": "1"}}}}),
        ("user.ext.history.avg_act_days", {"user": {"ext": {"history": {"avg_act_days": 10**400}}}}),
        ("user.ext.history.cpm", {"user": {"ext": {"history": {"cpm": {"secret": "1"}}}}}),
        ("user.ext.history.cpm", {"user": {"ext": {"history": {"cpm": {"secret": True}}}}}),
        ("user.ext.history.cpm", {"user": {"ext": {"history": {"cpm": [["secret"]]}}}}),
        ("user.ext.history.cpm", {"user": {"ext": {"history": {"cpm": [["secret", 1, 2]]}}}}),
        ("user.ext.history.cpm", {"user": {"ext": {"history": {"cpm": 5}}}}),
        ("user.ext.history.user_bundles.1", {"user": {"ext": {"history": {"user_bundles": ["a", 5]}}}}),
        ("user.ext.history.last_buy", {"user": {"ext": {"history": {"last_buy": "yesterday"}}}}),
        ("user.ext.history.as_of", {"user": {"ext": {"history": {"as_of": -1}}}}),
    ],
)
def test_what_is_typed_is_strict(reader: Reader, field: str, changes: dict[str, Any]) -> None:
    """The error names the field, never what was sent in it."""
    error = refused(reader, **changes)
    assert error.field is not None
    assert error.field == field or error.field.startswith(f"{field}.")
    assert "secret" not in str(error)
    assert "expected" in error.detail


def test_what_is_not_ours_is_tolerated(reader: Reader) -> None:
    """Unknown fields, unknown enumeration values, deprecated fields, deep objects of others."""
    call = read(
        reader,
        at=99,
        app={"cat": [{"x": [1]}]},
        device={"devicetype": 77, "didsha1": "x", "ext": {"other": [[[]]]}, "geo": {"type": "odd"}},
        user={"yob": "1990", "gender": 5, "ext": {"eids": [1], "history": {"unknown_field": {"a": "b"}}}},
        regs={"ext": {"pf": 1}},
        ext={"ts": TS, "campaigns": [{"id": "c", "colour": 5}], "prebid": {}},
    )
    assert call.withheld is None
    assert call.request == {}


def test_duplicate_keys_keep_the_last_value(reader: Reader, layout: Layout) -> None:
    """As the canonical form has it: the first place, the last value."""
    history = b'{"history":{"cpm":{"x":1,"y":2,"x":3}}}'
    ext = b'"ext":{"campaigns":[{"id":"c"}]},"user":{"ext":' + history + b"}"
    body = b'{"id":"a","id":"b","imp":[{"id":"1"}],' + ext + b"}"
    call = reader.read(body, 1e9)
    assert call.id == "b"
    assert call.history is not None
    assert call.history.packed == parse_history(layout, {"cpm": {"x": 3.0, "y": 2.0}}).packed


def test_readers_survive_a_swap(smadex: Declaration, layout: Layout) -> None:
    """Another bundle of the same declaration needs no new models."""
    readers = Readers(Gate(None, frozenset({1})), 64)
    first = readers.of(layout)
    assert readers.of(Layout(smadex)) is first
    assert readers.of(layout) is first


def test_the_model_is_pydantic_s(smadex: Declaration) -> None:
    """It stands alone: benchmarks and other frameworks may validate with it."""
    bid_request = request_model(smadex).model_validate_json(json.dumps(bid()))
    assert bid_request.model_dump()["ext"]["campaigns"] == [{"id": "c"}]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no real bid requests at {SAMPLES}")
def test_real_bid_requests_read(reader: Reader) -> None:
    """Samples of IAB, Prebid and others, as they are but for the campaigns; the one without imp.id is refused."""
    paths = sorted(path for path in SAMPLES.glob("*.json") if path.name != "MANIFEST.json")
    assert paths
    for path in paths:
        request = json.loads(path.read_text())
        request["ext"] = {**(request.get("ext") or {}), "campaigns": [{"id": "c"}]}
        body = json.dumps(request).encode()
        if path.name == "rtbkit__openrtb1_req.json":
            with pytest.raises(InputError, match=r"imp\.0\.id"):
                reader.read(body, TS)
        else:
            assert reader.read(body, TS).id == request["id"]
