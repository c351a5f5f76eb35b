"""Tests of app.api.consent, against an encoder of our own and the library iab_tcf."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iab_tcf import decode_v2

from app.api.bits import Undecodable
from app.api.consent import gpp_sections, tcf_allows, us_opted_out, us_privacy_opted_out
from tests.api.consents import gpp, tcf, us

# As Prebid publishes it in a test of its server (Apache-2.0).
REAL = (
    "CO-X2XiO_eyUoAsAxBFRBECsAP_AAH_AAAqIGMgB7CpERSNAYWApAOMAKYhfQAACAGAABAYIASgBQQBAMJQEkGAIMAjAAAAKAAAEACQAAAAgCAGAAAAAA"
    "AAAAQCMAAAAABAAACAAAAASAAAACAAACACSCAAQjAAAAAEAgAAAAAIF5wJwAFgAPAAqABcADIAHAAQAAqABiADQAHkARABFACeAFKALgAugBiADaAG8AOY"
    "AfwBCAClAGqANcAdQA_QCBgEIAIsARwAq4BgADZAHyAP-Aj0BUwC6gF5gCAoAYBEAC4AKpCQAwCIAFwAVSIgAgABFQAQAAg"
)
OPTED_OUT, STAYED = 1, 2


@pytest.mark.parametrize("vendor", [1, 9, 10, 14, 272, 423, 424, 793, 794, 65_535])
def test_a_real_string_reads_as_the_library_reads_it(vendor: int) -> None:
    """Vendor and purposes of a string from the wild."""
    oracle = decode_v2(REAL)
    for purpose in range(1, 25):
        expected = oracle.is_vendor_allowed(vendor) and oracle.is_purpose_allowed(purpose)
        assert tcf_allows(REAL, vendor, [purpose]) == expected


@given(st.sets(st.integers(1, 300), max_size=20), st.sets(st.integers(1, 24)), st.booleans(), st.integers(1, 300))
def test_made_strings_read_as_the_library_reads_them(
    vendors: set[int], purposes: set[int], ranges: bool, vendor: int
) -> None:
    """Bit fields and ranges of vendors, any purposes."""
    made = tcf(vendors, purposes, ranges=ranges)
    oracle = decode_v2(made)
    for purpose in (1, 3, 24):
        assert tcf_allows(made, vendor, [purpose]) == (
            oracle.is_vendor_allowed(vendor) and oracle.is_purpose_allowed(purpose)
        )
    assert tcf_allows(made, vendor, purposes) == (vendor in vendors)


@pytest.mark.parametrize(("kind", "allowed"), [(0, False), (1, True), (2, False)])
def test_a_publisher_may_restrict(kind: int, allowed: bool) -> None:
    """A purpose forbidden to the vendor, or left to legitimate interest, is not consented to."""
    made = tcf([7], [1, 3], restrictions=[(3, kind, [(5, 9)]), (1, 0, [(8, 8)])])
    assert tcf_allows(made, 7, [1])
    assert tcf_allows(made, 7, [1, 3]) == allowed


def test_no_part_of_a_string_is_a_consent() -> None:
    """Cut anywhere, a string that consents to all does not decode; the library would read on, and read ones."""
    whole = tcf([1, 700], range(1, 25))
    assert tcf_allows(whole, 700, [1])
    for length in range(len(whole) - 2):  # the last characters are padding
        with pytest.raises(Undecodable):
            tcf_allows(whole[:length], 700, [1])


@pytest.mark.parametrize("made", [tcf([1], [1], version=1), tcf([1], [1], version=3), "not a string", "", "...."])
def test_other_versions_do_not_decode(made: str) -> None:
    """Only TCF v2 is read."""
    with pytest.raises(Undecodable):
        tcf_allows(made, 1, [1])


def test_headers_of_the_specification_read() -> None:
    """The three worked examples of the GPP specification."""
    assert gpp_sections("DBABM~x") == {2: "x"}
    assert gpp_sections("DBACNY~x~y") == {2: "x", 6: "y"}
    assert gpp_sections("DBABjw~x~y") == {5: "x", 6: "y"}


@given(st.dictionaries(st.integers(1, 40), st.sampled_from(["BVVVVVVVVWA", "1YNN", "a.b"]), max_size=8))
def test_made_headers_read_back(sections: dict[int, str]) -> None:
    """Any set of sections."""
    assert gpp_sections(gpp(sections)) == sections


@pytest.mark.parametrize("made", ["", "DBABM", "DBABM~x~y", "CBABM~x", "DBA", "~", "DBD_____________~x", "é~x"])
def test_headers_that_lie_do_not_decode(made: str) -> None:
    """Another type, another number of sections, a header that ends early or never."""
    with pytest.raises(Undecodable):
        gpp_sections(made)


@pytest.mark.parametrize("section", [7, *range(8, 23)])
def test_each_opt_out_of_each_section_counts(section: int) -> None:
    """Sale, sharing, targeted advertising: any of them, wherever the section has it."""
    notices, choices = (6, 3) if section == 7 else (4, 2) if section in (11, 18) else (3, 2)
    assert not us_opted_out(section, us(notices, [STAYED] * choices))
    assert not us_opted_out(section, us(notices, [0] * choices))
    for place in range(choices):
        opted = [STAYED] * choices
        opted[place] = OPTED_OUT
        assert us_opted_out(section, us(notices, opted))


def test_global_privacy_control_opts_out() -> None:
    """A browser's or system's own signal, in the segment that follows."""
    assert us_opted_out(8, us(3, [STAYED, STAYED], gpc=True))
    assert not us_opted_out(8, us(3, [STAYED, STAYED], gpc=False))


@pytest.mark.parametrize(
    ("section", "made"),
    [
        (8, us(3, [3, 2])),
        (8, us(3, [2, 2], version=2)),
        (7, us(6, [2, 2, 2], version=3)),
        (8, "B"),
        (99, us(3, [2, 2])),
    ],
)
def test_what_is_not_specified_does_not_decode(section: int, made: str) -> None:
    """Values, versions and sections that the specification does not have."""
    with pytest.raises(Undecodable):
        us_opted_out(section, made)
    assert not us_opted_out(7, us(6, [2, 2, 2], version=2))


@pytest.mark.parametrize(
    ("made", "out"), [("1YYN", True), ("1yyn", True), ("1YNN", False), ("1---", False), ("1N-N", False)]
)
def test_us_privacy_strings(made: str, out: bool) -> None:
    """The third character is the opt-out of sale."""
    assert us_privacy_opted_out(made) == out
    assert us_opted_out(6, made) == out


@pytest.mark.parametrize("made", ["", "1YN", "2YNN", "1YXN", "1YNNN", "yes!"])
def test_other_us_privacy_strings_do_not_decode(made: str) -> None:
    """Neither another version nor other characters."""
    with pytest.raises(Undecodable):
        us_privacy_opted_out(made)
