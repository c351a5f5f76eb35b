"""The compiled reader of histories against pydantic and `parse_history`: the same bytes, or left to them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from app.api.openrtb import whole_as_of
from app.api.schemas import request_model
from app.features.histories import HistoryShape, HistoryTwin
from app.features.history import History, parse_history, read_history
from app.features.layout import Layout
from app.features.native import Library
from app.features.spec import Declaration
from tests.features.conftest import HISTORIES, SMALL
from training.publishing.codegen import compile_features

LAYOUT = Layout(Declaration.from_dict(SMALL))
PLACE = (b"user", b"ext", b"history")
MODEL: type[BaseModel] = request_model(LAYOUT.declaration)
REST = b'"id":"r","imp":[{"id":"1"}],"ext":{"campaigns":[{"id":"c"}]}'


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled source."""
    path = tmp_path_factory.mktemp("histories") / "features.so"
    compile_features(path)
    return path


@pytest.fixture(scope="module")
def twin(library: Path) -> HistoryTwin:
    """It, for the small declaration."""
    return HistoryTwin(Library(library), LAYOUT, HistoryShape(LAYOUT))


def body(history: bytes) -> bytes:
    """A bid request around a history."""
    return b'{"user":{"ext":{"history":' + history + b"}}," + REST + b"}"


def validated(text: bytes) -> History | None:
    """By pydantic and Python; None where the body is refused."""
    try:
        bid: Any = MODEL.model_validate_json(text)
    except ValidationError:
        return None
    sent = (bid.user or {}).get("ext", {}).get("history")
    if sent is None:
        return None
    whole_as_of(sent)
    return parse_history(LAYOUT, sent)


def parts(history: History) -> tuple[bytes, int | None, bool]:
    """All of it."""
    return history.packed, history.as_of, history.empty


def agree(twin: HistoryTwin, text: bytes) -> bool:
    """Whether the twin read it; if it did, the definition must say the same of the history and of what is left."""
    taken = twin.take(text, PLACE, b"null")
    if taken is None:
        return False
    bare, found = taken
    expected = validated(text)
    if expected is None:  # something else is wrong with the body, and still is without the history
        with pytest.raises(ValidationError):
            MODEL.model_validate_json(bare)
        return True
    assert parts(found) == parts(expected)
    assert parts(read_history(LAYOUT, found.packed)) == parts(expected)
    whole: Any = MODEL.model_validate_json(text).model_dump()
    whole["user"]["ext"]["history"] = None
    assert MODEL.model_validate_json(bare).model_dump() == whole
    return True


def dumped(raw: Any, ascii_only: bool, indent: int | None) -> bytes:
    """JSON as callers write it."""
    return json.dumps(raw, ensure_ascii=ascii_only, indent=indent).encode()


@settings(max_examples=400)
@given(HISTORIES, st.booleans(), st.none() | st.integers(0, 2))
def test_every_valid_shape_is_read(
    twin: HistoryTwin, raw: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    """Objects and pairs, nulls, duplicates, nested, empty, escaped and spaced out: never left to Python."""
    assert agree(twin, body(dumped(raw, ascii_only, indent)))


TOKENS = st.sampled_from(
    [
        b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"1", b"-0", b"0.5", b"1e3", b"01", b"1.", b"-", b"1e400",
        b"NaN", b"12345678901234567890", b"9007199254740993", b"0.1234567890123456789", b"4102444801", b"-1", b'"a"',
        b'"b"', b'"spend"', b'"age"', b'"clicks"', b'"apps"', b'"as_of"', b'"last_word"', b'"unknown"', b'"\\u00e9"',
        b'"\\ud83d\\ude00"', b'"\\ud83d"', b'"\\q"', b'"\x01"', b'"\xc3\xa9"', b'"\xc3"', b'"\xed\xa0\x80"', b'"', b" ",
    ]
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abé"), inner, max_size=3),
    max_leaves=8,
)
ODD = st.dictionaries(st.sampled_from([*(f.name for f in LAYOUT.declaration.scope("user")), "as_of", "x"]), VALUES)


@settings(max_examples=400)
@given(raw=ODD)
@example(raw={"age": 2**53 + 1, "seen": 10**18, "spend": {"a": 1e-300, "b": -1.7e308}})
@example(raw={"unknown": [[[{"a": []}]]], "spend": {"a": 1}})
@example(raw={"as_of": 1_759_500_000.9})
@example(raw={"as_of": -0.0})
def test_what_is_not_valid_is_never_read(twin: HistoryTwin, raw: Any) -> None:
    """Wrong types in any place: what the twin reads is valid, and the same."""
    agree(twin, body(json.dumps(raw).encode()))


@settings(max_examples=600)
@given(st.lists(TOKENS, max_size=12).map(b"".join))
def test_malformed_text_is_never_read(twin: HistoryTwin, text: bytes) -> None:
    """Any tokens in the history's place, and in the place of a field of it."""
    agree(twin, body(text))
    agree(twin, body(b'{"spend":{"a":1,' + text + b"}}"))
    agree(twin, body(b'{"spend":' + text + b',"age":3}'))


@settings(max_examples=400)
@given(HISTORIES, st.data())
def test_a_broken_byte_is_never_read_otherwise(twin: HistoryTwin, raw: dict[str, Any], data: st.DataObject) -> None:
    """One byte of the body changed, cut off, or doubled."""
    text = bytearray(body(json.dumps(raw).encode()))
    at = data.draw(st.integers(0, len(text) - 1))
    change = data.draw(st.sampled_from(["flip", "cut", "double"]))
    if change == "flip":
        text[at] = data.draw(st.sampled_from(b'\x00 "\\{}[],:019eE.-+nuabc\x80\xff'))
    elif change == "cut":
        del text[at:]
    else:
        text[at:at] = text[at : at + 1]
    agree(twin, bytes(text))


@pytest.mark.parametrize(
    "text",
    [
        b'{"user":{"ext":{"history":{}},"ext":{}},' + REST + b"}",
        b'{"user":{"ext":{"history":{"age":1},"history":{"age":2}}},' + REST + b"}",
        b'{"user":{"ext":{"history":{"age":1,"age":2}}},' + REST + b"}",
        b'{"user":{"ext":{"history":{"age":1}}},"user":null,' + REST + b"}",
        b'{"user":{"ext":{"history":{"age":1}}},"\\u0075ser":null,' + REST + b"}",
        b'{"user":{"ext":{"history":null}},' + REST + b"}",
        b'{"user":{"ext":[{"history":{}}]},' + REST + b"}",
        b'{"users":{"ext":{"history":{}}},' + REST + b"}",
        b"{" + REST + b"}",
        b"[]",
        b"",
    ],
)
def test_a_history_in_two_places_or_none_is_left_to_python(twin: HistoryTwin, text: bytes) -> None:
    """Which of two counts is for the validator to say."""
    assert twin.take(text, PLACE, b"null") is None


def test_what_else_is_in_the_body_does_not_mislead(twin: HistoryTwin) -> None:
    """The same names elsewhere, brackets and quotes in texts, and any depth around it."""
    other = b'"site":{"user":{"ext":{"history":{"age":9}}},"name":"}]{\\"\\\\","x":[{"history":[{}]}]},'
    text = (
        b"{ " + other + b' "user" : {"data":[1,{"ext":2}],"ext" : {"history" : {"age": 5} , "a":[]}} , ' + REST + b" } "
    )
    taken = twin.take(text, PLACE, b"null")
    assert taken is not None
    assert taken[0] == text.replace(b'{"age": 5}', b"null")
    assert taken[1].packed == parse_history(LAYOUT, {"age": 5}).packed
    assert agree(twin, text)


@pytest.mark.parametrize("n", [15, 16, 17, 31, 32, 33, 300, 5000])
def test_long_maps_keep_the_first_place_and_the_last_value(twin: HistoryTwin, n: int) -> None:
    """Every key twice, so that each has to be found again; in pairs, nested and in lists."""
    keys = [f"com.shop.a{i % n:05d}.app" for i in range(2 * n)]
    pairs = [[k, float(i)] for i, k in enumerate(keys)]
    raw = {"spend": pairs, "clicks": [[k, [[k, i], ["x", None]]] for k, i in pairs], "apps": keys}
    assert agree(twin, body(json.dumps(raw).encode()))


def test_keys_made_to_collide_are_left_to_python(twin: HistoryTwin) -> None:
    """Equal beginnings, ends and lengths: the time stays linear, and the answer the same."""
    keys = [f"12345678{i:08d}12345678" for i in range(4000)]
    text = body(json.dumps({"spend": dict.fromkeys(keys, 1.0)}).encode())
    assert twin.take(text, PLACE, b"null") is None
    assert validated(text) is not None


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**17), 10**17))
def test_numbers_are_read_to_the_last_bit(twin: HistoryTwin, x: float) -> None:
    """Shortest texts, long ones and exponents."""
    for text in (repr(x), f"{x:.17e}", f"{x:.25f}" if abs(x) < 1e15 else repr(x)):
        taken = twin.take(body(b'{"age":' + text.encode() + b"}"), PLACE, b"null")
        assert taken is not None
        assert taken[1].packed == parse_history(LAYOUT, {"age": float(text)}).packed


@given(HISTORIES, st.data())
def test_a_damaged_buffer_is_sound_only_where_python_reads_it(
    twin: HistoryTwin, raw: dict[str, Any], data: st.DataObject
) -> None:
    """The compiled check refuses all that `unpack` refuses."""
    packed = bytearray(parse_history(LAYOUT, raw).packed)
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(0, 255))
    blob = bytes(packed[: data.draw(st.sampled_from([len(packed), len(packed), at]))])
    try:
        read_history(LAYOUT, blob)
    except ValueError:
        assert not twin.sound(blob)
    else:
        assert twin.sound(blob) or packed[33] > 1  # Python reads any byte but 0 as true


def test_another_stand_in_and_another_place(twin: HistoryTwin) -> None:
    """As `POST /features` asks."""
    taken = twin.take(b'{"ifa":"x","history":{"age":1,"as_of":7}}', (b"history",), b'{"as_of":0}')
    assert taken is not None
    assert taken[0] == b'{"ifa":"x","history":{"as_of":0}}'
    assert taken[1].as_of == 7


def test_a_history_is_its_own(twin: HistoryTwin) -> None:
    """The next call changes nothing of it, and no reference is lost or gained."""
    text = body(b'{"spend":{"a":1,"b":2},"apps":["p","\\u00e9"],"as_of":5}')
    first = twin.take(text, PLACE, b"null")
    assert first is not None
    kept = bytes(bytearray(first[1].packed))
    held = [sys.getrefcount(one) for one in (text, PLACE, None, True, False)]
    for _ in range(1000):
        twin.take(text, PLACE, b"null")
        twin.take(body(b'{"spend":{"b":7,"c":8},"age":1,"clicks":{"k":{"x":1}}}'), PLACE, b"null")
        twin.take(body(b'{"spend":{"a":true}}'), PLACE, b"null")
        twin.sound(first[1].packed)
    now = [sys.getrefcount(one) for one in (text, PLACE, None, True, False)]
    assert first[1].packed == kept
    assert max(abs(a - b) for a, b in zip(held, now, strict=True)) < 500


_REPLACED = """
import sys
from pathlib import Path
from app.features.histories import HistoryShape, HistoryTwin
from app.features.layout import Layout
from app.features.native import Library
from app.features.spec import Declaration
from tests.features.conftest import SMALL

layout = Layout(Declaration.from_dict(SMALL))
text = b'{"history":{"spend":{' + b",".join(b'"k%06d":1' % i for i in range(2400)) + b"}}}"

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

for i in range(220):
    twin = HistoryTwin(Library(Path(sys.argv[1])), layout, HistoryShape(layout))
    assert twin.take(text, (b"history",), b"null") is not None
    del twin
    if i == 20:
        before = resident()
print(resident() - before)
"""


def test_a_replaced_library_takes_its_scratch_with_it(library: Path, tmp_path: Path) -> None:
    """A bundle is loaded, used and dropped 200 times: the process stays within 8 MiB, where it grew by 30."""
    path = tmp_path / "features.so"  # its own file, so that dropping it unloads it
    shutil.copy(library, path)
    command = [sys.executable, "-c", _REPLACED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 4096 < 8 << 20
