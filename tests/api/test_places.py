"""The compiled reader of requests against pydantic and `Reader`'s own Python: the same calls, the same refusals."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.api.openrtb import Call, Reader
from app.api.places import SLOTS
from app.api.privacy import Gate
from app.errors import InputError
from app.features.bids import BidTwin
from app.features.histories import HistoryShape, HistoryTwin
from app.features.layout import Layout
from app.features.native import Library
from app.features.spec import Declaration
from tests.features.conftest import HISTORIES, KEYS, NUMBERS, SMALL
from training.publishing.codegen import compile_features

CLOCK = 1.76e9
MOST = 5

TEXTS = KEYS | st.sampled_from(["USA", "ESP", "iOS", "14.4", "Ünï", "\n\u2028", "😀", "aa-bb", "00-00"])
FLAGS = st.sampled_from([0, 1, 0.0, 1.0, 3])
WHOLES = st.integers(-(2**31) + 1, 2**31 - 1)
TREE: dict[str, Any] = {
    "tmax": st.integers(0, 2**31 - 1),
    "at": st.integers() | TEXTS | st.lists(NUMBERS, max_size=2),
    "device": {
        **dict.fromkeys(("os", "osv", "ifa", "make", "étage"), TEXTS),
        **dict.fromkeys(("lmt", "dnt"), FLAGS),
        "geo": {"country": TEXTS, "region": TEXTS, "lat": NUMBERS},
        "ext": {"released": TEXTS, "price": NUMBERS, "atts": FLAGS},
    },
    "user": {
        **dict.fromkeys(("id", "buyeruid", "consent"), TEXTS),
        "ext": {"consent": TEXTS, "history": HISTORIES, "eids": st.lists(WHOLES, max_size=2)},
    },
    "regs": {
        **dict.fromkeys(("coppa", "gdpr"), FLAGS),
        **dict.fromkeys(("us_privacy", "gpp"), TEXTS),
        "gpp_sid": st.lists(WHOLES, max_size=3),
        "ext": {"gdpr": FLAGS, "us_privacy": TEXTS, "gpp_sid": st.lists(WHOLES, max_size=2)},
    },
}  # fmt: skip
CAMPAIGN = st.fixed_dictionaries(
    {"id": TEXTS}, optional={"shop": st.none() | TEXTS, "bid": st.none() | NUMBERS, "colour": NUMBERS | TEXTS}
)


def optional(tree: dict[str, Any], **required: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object any of whose fields may be absent or null, but for the required."""
    fields = {name: st.none() | (optional(kind) if isinstance(kind, dict) else kind) for name, kind in tree.items()}
    return st.fixed_dictionaries(required, optional=fields)


EXT = optional(
    {"ts": st.floats(0, 4_102_444_800) | st.integers(0, 4_102_444_800), "deadline_ms": st.integers(0, 2**31 - 1)},
    campaigns=st.lists(CAMPAIGN, min_size=1, max_size=MOST),
)
IMPRESSIONS = st.lists(st.fixed_dictionaries({"id": TEXTS}, optional={"banner": st.just({"w": [1]})}), min_size=1)
BIDS = optional(TREE, id=TEXTS, imp=IMPRESSIONS, ext=EXT)


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Reader, Reader]:
    """By Python alone, and with the compiled code."""
    library = tmp_path_factory.mktemp("bids") / "features.so"
    compile_features(library)
    plain, compiled = (Layout(Declaration.from_dict(SMALL)) for _ in range(2))
    compiled.histories = HistoryTwin(Library(library), compiled, HistoryShape(compiled))
    gate = Gate(10, frozenset({1}))
    return Reader(plain, gate, MOST), Reader(compiled, gate, MOST)


def outcome(reader: Reader, body: bytes) -> tuple[Any, ...]:
    """All that is read of a body, or how it is refused."""
    try:
        call = reader.read(body, CLOCK)
    except InputError as error:
        return str(error), error.field
    return parts(call)


def parts(call: Call) -> tuple[Any, ...]:
    """A call, to the last bit; a field that is null is as good as absent."""
    history = call.history and (call.history.packed, call.history.as_of, call.history.empty)
    campaigns = [sorted((name, value) for name, value in c.items() if value is not None) for c in call.campaigns]
    refused = {place: (name, str(error)) for place, (name, error) in call.refused.items()}
    return repr(
        (call.id, call.ts, call.now, sorted(call.request.items()), campaigns, call.withheld, call.identity)
    ), history, refused, call.deadline_ms, call.tmax_ms  # fmt: skip


def is_read(readers: tuple[Reader, Reader], body: bytes) -> bool:
    """Whether compiled code read a body; either way the outcome must be the definition's."""
    expected = outcome(readers[0], body)
    assert outcome(readers[1], body) == expected
    return twin_of(readers).read(body) is not None


def twin_of(readers: tuple[Reader, Reader]) -> BidTwin:
    """The compiled code itself."""
    twin = readers[1].twin
    assert twin is not None
    return twin


def written(bid: Any, ascii_only: bool = False, indent: int | None = None) -> bytes:
    """JSON as callers write it."""
    return json.dumps(bid, ensure_ascii=ascii_only, indent=indent).encode()


def small(**changes: Any) -> dict[str, Any]:
    """A valid bid."""
    return {"id": "r", "imp": [{"id": "1"}], "ext": {"campaigns": [{"id": "c"}]}, **changes}


@settings(max_examples=150)
@given(BIDS, st.booleans(), st.none() | st.integers(0, 1))
@example(small(device={}, user={"ext": {}}, regs={"ext": {"gpp_sid": []}}), True, None)
@example(small(device={"geo": {}, "ext": {"atts": 0}, "os": "iOS"}, user={"ext": {"history": {}}}), True, None)
def test_every_valid_request_is_read(
    readers: tuple[Reader, Reader], bid: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    """Any fields of any objects, null or absent, escaped and spaced out: never left to Python."""
    assert is_read(readers, written(bid, ascii_only, indent))


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=4,
)


def paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a tree."""
    found = [path] if path else []
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        found += paths(value, (*path, key))
    return found


@settings(max_examples=250)
@given(BIDS, ANYTHING, st.data())
def test_a_wrong_type_anywhere_is_told_as_before(
    readers: tuple[Reader, Reader], bid: dict[str, Any], value: Any, data: st.DataObject
) -> None:
    """Any value in the place of any other: the same call, or the same refusal."""
    *way, last = data.draw(st.sampled_from(paths(bid)))
    holder: Any = bid
    for step in way:
        holder = holder[step]
    holder[last] = value
    is_read(readers, written(bid))


@settings(max_examples=250)
@given(BIDS, st.data())
def test_a_broken_byte_is_never_read_otherwise(
    readers: tuple[Reader, Reader], bid: dict[str, Any], data: st.DataObject
) -> None:
    """One byte changed, cut off from, or doubled."""
    text = bytearray(written(bid))
    at = data.draw(st.integers(0, len(text) - 1))
    change = data.draw(st.sampled_from(["flip", "cut", "double"]))
    if change == "flip":
        text[at] = data.draw(st.sampled_from(b'\x00 "\\{}[],:019eE.-+nuabc\x80\xff'))
    elif change == "cut":
        del text[at:]
    else:
        text[at:at] = text[at : at + 1]
    is_read(readers, bytes(text))


@pytest.mark.parametrize(
    ("literal", "read"),
    [
        (b"0", True), (b"7", True), (b"2147483647", True), (b"2147483648", False), (b"-0", False), (b"-1", False),
        (b"00", False), (b"07", False), (b"7.0", False), (b"7e0", False), (b"99999999999", False), (b"+7", False),
        (b"7 ", True), (b"null", True), (b'"7"', False), (b"true", False), (b"[7]", False), (b"", False),
    ],
)  # fmt: skip
def test_whole_numbers(readers: tuple[Reader, Reader], literal: bytes, read: bool) -> None:
    """Those that are plainly whole and within bounds; who is right about the others is for the validator to say."""
    assert is_read(readers, written(small(tmax=77)).replace(b"77", literal)) is read


@pytest.mark.parametrize(
    "text",
    [
        b'{"id":"a","id":"b","imp":[{"id":"1"}],"ext":{"campaigns":[{"id":"c"}]}}',
        b'{"id":"a","\\u0069d":"b","imp":[{"id":"1"}],"ext":{"campaigns":[{"id":"c"}]}}',
        b'{"id":"a","imp":[{"id":"1","id":"2"}],"ext":{"campaigns":[{"id":"c"}]}}',
        b'{"id":"a","imp":[{"id":"1"}],"ext":{"campaigns":[{"id":"c","shop":"x","shop":null}]}}',
        b'{"id":"a","imp":[{"id":"1"}],"ext":{"campaigns":[{"id":"c"}]},"ext":null}',
        b'{"id":"a","imp":[],"ext":{"campaigns":[{"id":"c"}]}}',
        b'{"id":"a","imp":[{"id":"1"}],"ext":{"campaigns":[]}}',
        b'{"id":"a","imp":[{"id":"1"}],"ext":{"campaigns":[{"shop":"x"}]}}',
        b'{"id":"a","imp":[{"id":"1"}],"ext":{"campaigns":[{"id":"c"},5]}}',
        b'{"id":"a","imp":[{"id":"1"}],"ext":{}}',
        b'{"id":null,"imp":[{"id":"1"}],"ext":{"campaigns":[{"id":"c"}]}}',
        b'{"id":"a","imp":[{"id":"1"}],"ext":{"campaigns":[{"id":"c"}]}}\x00',
        b'{"id":"a","imp":[{"id":"1"}],"ext":{"campaigns":[{"id":"c"}]}}{}',
        b'{"id":"a","imp":[{"id":"1"}],"ext":{"campaigns":[{"id":"c"}]},"x":' + b"[" * 40 + b"]" * 40 + b"}",
        b"[]",
        b"",
    ],
)
def test_what_is_not_plain_is_left_to_python(readers: tuple[Reader, Reader], text: bytes) -> None:
    """Fields that come twice, lists that are empty, what is required and lacks, and what no parser reads."""
    assert not is_read(readers, text)


def test_the_number_of_campaigns_is_bounded(readers: tuple[Reader, Reader]) -> None:
    """As the model has it."""
    for n in (MOST, MOST + 1):
        body = written(small(ext={"campaigns": [{"id": "c"}] * n}))
        assert is_read(readers, body) is (n == MOST)


def test_a_declaration_of_any_width_is_read(readers: tuple[Reader, Reader]) -> None:
    """By compiled code up to as many places as it has room for, by Python alone beyond."""
    layouts, read = [], []
    for n in (100, 300):
        columns = {f"c{i}": {"kind": "number"} for i in range(n)}
        layouts.append(Layout(Declaration.from_dict(SMALL | {"campaign": SMALL["campaign"] | columns})))
        layouts[-1].histories = readers[1].layout.histories
        reader = Reader(layouts[-1], Gate(10, frozenset({1})), MOST)
        call = reader.read(written(small(ext={"campaigns": [{"id": "c", f"c{n - 1}": 7}]})), CLOCK)
        assert call.campaigns == [{"id": "c", f"c{n - 1}": 7.0}]
        read.append(reader.twin is not None)
    assert read == [True, False]


def test_two_columns_of_one_place_both_get_its_value(readers: tuple[Reader, Reader]) -> None:
    """Each written in its own way."""
    system = {"kind": "category", "wire": "device.os"}
    more = {"system": system | {"format": "lower"}, "name": system, "dotted": system | {"wire": "device.osv"}}
    layout = Layout(Declaration.from_dict(SMALL | {"request": SMALL["request"] | more}))
    layout.histories = readers[1].layout.histories
    body = written(small(device={"os": "iOS", "osv": "9.1"}))
    call = Reader(layout, Gate(10, frozenset({1})), MOST).read(body, CLOCK)
    assert call.request == {"system": "ios", "name": "iOS", "os_version": "9.1", "dotted": "9.1"}


def test_only_what_is_wanted_is_handed_out(readers: tuple[Reader, Reader]) -> None:
    """What the gate looks at, as it was written; columns as they are normalised; nothing else."""
    device = {"os": "iOS", "osv": "14.4", "ifa": "a", "ext": {"atts": 3, "price": 2}, "geo": {"country": "ESP"}}
    found = twin_of(readers).read(written(small(device=device, user={"id": "u"}, regs={"x": 1})))
    assert found is not None
    values = dict(zip(SLOTS, found, strict=False))
    assert values["device"] == {"os": "iOS", "osv": "14.4", "ext": {"atts": 3.0}}
    assert values["regs"] is values["user"] is values["tmax"] is None
    assert found[len(SLOTS)] == {"os_version": "14.4", "country": "es", "price": 2.0}


def test_nothing_is_kept_of_what_was_read_or_refused(readers: tuple[Reader, Reader]) -> None:
    """A thousand readings and as many refusals at each of several places leave no object behind."""
    twin = twin_of(readers)
    body = written(
        small(device={"ext": {"atts": 3}}, user={"id": "u", "ext": {"history": {"age": 1}}}, regs={"gpp_sid": [7]})
    )
    bodies = [body, *(body[:at] for at in range(0, len(body), 7))]
    tracemalloc.start()
    try:
        for rounds in (10, 1000 // 7):
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(rounds):
                for text in bodies:
                    twin.read(text)
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()
