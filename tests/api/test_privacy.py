"""Tests of app.api.privacy: the gate, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.privacy import Gate, _known_to_ask
from tests.api.consents import gpp, tcf, us
from tests.api.test_consent import REAL

VENDOR, OTHER = 10, 14
YES, NO = tcf([VENDOR], [1, 3, 4]), tcf([VENDOR], [1, 3])
IOS = {"os": "iOS", "osv": "17.1"}
STAYS, LEAVES = us(3, [2, 2]), us(3, [1, 2])

CASES: list[tuple[str | None, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # reason, device, user, regs
    (None, {}, {}, {}),
    (None, {"lmt": 0, "dnt": 0}, {}, {"coppa": 0, "gdpr": 0}),
    ("lmt", {"lmt": 1}, {}, {}),
    ("dnt", {"dnt": 1}, {}, {}),
    ("coppa", {}, {}, {"coppa": 1}),
    # GDPR, in the places of 2.6 and of 2.5
    ("gdpr", {}, {}, {"gdpr": 1}),
    ("gdpr", {}, {}, {"ext": {"gdpr": 1}}),
    ("gdpr", {}, {"consent": ""}, {"gdpr": 1}),
    ("gdpr", {}, {"consent": "not decodable"}, {"gdpr": 1}),
    ("gdpr", {}, {"consent": NO}, {"gdpr": 1}),
    ("gdpr", {}, {"consent": tcf([OTHER], [1, 3, 4])}, {"gdpr": 1}),
    ("gdpr", {}, {"consent": YES[:-9]}, {"gdpr": 1}),
    ("gdpr", {}, {"consent": YES + "." + "A" * 7000}, {"gdpr": 1}),
    (None, {}, {"consent": YES}, {"gdpr": 1}),
    (None, {}, {"ext": {"consent": YES}}, {"ext": {"gdpr": 1}}),
    (None, {}, {"ext": {"consent": REAL}}, {"ext": {"gdpr": 1}}),
    ("gdpr", {}, {"consent": NO, "ext": {"consent": YES}}, {"gdpr": 1}),
    (None, {}, {"consent": NO}, {"gdpr": 0}),
    (None, {}, {"consent": NO}, {"gdpr": 0, "ext": {"gdpr": 1}}),
    ("gdpr", {}, {"consent": NO}, {}),
    (None, {}, {"consent": YES}, {}),
    ("gdpr", {}, {"consent": NO}, {"gdpr": 0, "gpp_sid": [2], "gpp": gpp({2: YES})}),
    (None, {}, {}, {"gdpr": 1, "gpp": gpp({2: YES}), "gpp_sid": [2]}),
    ("gdpr", {}, {}, {"gpp": gpp({2: NO}), "gpp_sid": [2]}),
    ("gdpr", {}, {}, {"gpp": gpp({2: NO})}),
    # US privacy
    ("us_privacy", {}, {}, {"us_privacy": "1YYN"}),
    ("us_privacy", {}, {}, {"ext": {"us_privacy": "1YYN"}}),
    ("us_privacy", {}, {}, {"us_privacy": "what?"}),
    (None, {}, {}, {"us_privacy": "1YN-"}),
    (None, {}, {}, {"us_privacy": ""}),
    # GPP
    (None, {}, {}, {"gpp": gpp({8: STAYS}), "gpp_sid": [8]}),
    ("gpp", {}, {}, {"gpp": gpp({8: LEAVES}), "gpp_sid": [8]}),
    ("gpp", {}, {}, {"ext": {"gpp": gpp({8: LEAVES}), "gpp_sid": [8]}}),
    ("gpp", {}, {}, {"gpp": gpp({8: LEAVES})}),
    (None, {}, {}, {"gpp": gpp({8: LEAVES, 9: STAYS}), "gpp_sid": [9]}),
    (None, {}, {}, {"gpp": gpp({8: LEAVES}), "gpp_sid": [-1]}),
    ("gpp", {}, {}, {"gpp": gpp({8: STAYS}), "gpp_sid": [7]}),
    ("gpp", {}, {}, {"gpp_sid": [7]}),
    ("gpp", {}, {}, {"gpp": "garbage", "gpp_sid": [7]}),
    ("gpp", {}, {}, {"gpp": "garbage"}),
    (None, {}, {}, {"gpp": "garbage", "gpp_sid": [-1]}),
    ("gpp", {}, {}, {"gpp": gpp({99: "A"}), "gpp_sid": [99]}),
    ("gpp", {}, {}, {"gpp": gpp({6: "1YYN"}), "gpp_sid": [6]}),
    (None, {}, {}, {"us_privacy": "1YNN", "gpp_sid": [6]}),
    (None, {}, {}, {"gpp": gpp({5: "A"}), "gpp_sid": [5]}),
    # App Tracking Transparency
    ("atts", IOS, {}, {}),
    ("atts", {**IOS, "ext": {"atts": 2}}, {}, {}),
    (None, {**IOS, "ext": {"atts": 3}}, {}, {}),
    ("atts", {"os": "ios", "osv": "14.5"}, {}, {}),
    ("atts", {"os": "iPadOS", "osv": "15"}, {}, {}),
    ("atts", {"os": "iOS"}, {}, {}),
    ("atts", {"os": "iOS", "osv": "new"}, {}, {}),
    ("atts", {"os": "iPhone OS", "osv": "17.1", "ext": {"atts": 2}}, {}, {}),
    ("atts", {"os": " iOS", "osv": "15"}, {}, {}),
    ("atts", {"os": "iOS", "osv": "14_5"}, {}, {}),
    ("atts", {"os": "iOS", "osv": "14,5"}, {}, {}),
    (None, {"os": "iPhone OS", "osv": "14_4_2"}, {}, {}),
    (None, {"os": "iOS", "osv": "14.4.2"}, {}, {}),
    (None, {"os": "iOS", "osv": "9"}, {}, {}),
    (None, {"os": "Android", "osv": "14.5"}, {}, {}),
    ("atts", {"os": "iOS", "osv": "17.1" + " beta" * 20}, {}, {}),
    (None, {"os": "iOS", "osv": "14.4" + " beta" * 20}, {}, {}),
]


@pytest.mark.parametrize(("reason", "device", "user", "regs"), CASES)
def test_the_gate(reason: str | None, device: dict[str, Any], user: dict[str, Any], regs: dict[str, Any]) -> None:
    """Each rule in each place; what can not be decoded withholds."""
    gate = Gate(VENDOR, frozenset({1, 3, 4}))
    assert gate.reason(device, user, regs) == reason
    assert gate.reason(device, user, regs) == reason  # the second time from what is remembered


def test_what_is_remembered_of_systems_is_bounded() -> None:
    """Names that nobody's device has take no memory: neither long ones, nor many."""
    gate = Gate(VENDOR, frozenset({1}))
    for i in range(5000):
        assert gate.reason({"os": "iOS", "osv": f"{i}" + "x" * 64}, {}, {}) == ("atts" if i > 14 else None)
    before = _known_to_ask.cache_info().currsize
    for i in range(5000):
        gate.reason({"os": f"{i}"}, {}, {})
    assert before < 1000 < _known_to_ask.cache_info().currsize <= 4096


def test_absent_parts_say_nothing() -> None:
    """A request without device, user and regs."""
    assert Gate(VENDOR, frozenset({1})).reason(None, None, None) is None


def test_without_a_vendor_id_no_consent_can_name_us() -> None:
    """Under GDPR nothing is used then."""
    assert Gate(None, frozenset({1})).reason(None, {"consent": YES}, {"gdpr": 1}) == "gdpr"
