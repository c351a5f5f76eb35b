"""Consent strings decoded. A TC string or a GPP string enters; what it allows leaves.

TCF v2: IAB Tech Lab, "Transparency and Consent String with Global Vendor List Format". GPP: IAB Tech Lab, "Global
Privacy Platform String" and the US section specifications. Only the fields that decide are read, each with its
bounds checked: a string that ends early, or of another version, is `Undecodable`, never a consent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from app.api.bits import Bits, Undecodable

TCF_EU_V2: Final = 2
US_PRIVACY: Final = 6
US_NATIONAL: Final = 7
_OPTED_OUT: Final = 1
_INVALID: Final = 3
_GPC_SEGMENT: Final = 1
_CONSENT_OR_BETTER: Final = 1  # publisher restriction "require consent": what is asked for here anyway

# Section → how many two-bit notices stand before its opt-outs, and how many opt-outs (of sale, sharing, targeted
# advertising) follow. All sections begin with a version of six bits.
_US_SECTIONS: Final[Mapping[int, tuple[int, int]]] = {
    US_NATIONAL: (6, 3),
    8: (3, 2),  # California: sale and sharing
    9: (3, 2),  # Virginia
    10: (3, 2),  # Colorado
    11: (4, 2),  # Utah: a notice on sensitive data too
    12: (3, 2),  # Connecticut
    13: (3, 2),  # Florida
    14: (3, 2),  # Montana
    15: (3, 2),  # Oregon
    16: (3, 2),  # Texas
    17: (3, 2),  # Delaware
    18: (4, 2),  # Iowa: a notice on sensitive data too
    19: (3, 2),  # Nebraska
    20: (3, 2),  # New Hampshire
    21: (3, 2),  # New Jersey
    22: (3, 2),  # Tennessee
}


def tcf_allows(text: str, vendor: int, purposes: Collection[int]) -> bool:
    """Whether a TC string consents to `vendor` processing for all `purposes`.

    Parameters
    ----------
    text : str
        TCF v2; only its core segment decides.
    vendor : int
        Id on the Global Vendor List.
    purposes : collection of int
        From 1 to 24.

    Raises
    ------
    Undecodable
        Not a whole TCF v2 core segment.
    """
    bits = Bits(text.partition(".")[0])
    if bits.integer(6) != 2:
        raise Undecodable("expected TCF version 2")
    bits.skip(146)  # times, CMP, language, list and policy versions, flags, special features
    consented = bits.integer(24)
    bits.skip(24 + 1 + 12)  # legitimate interests, purpose-one treatment, publisher's country
    vendor_consented = _vendor(bits, vendor)
    _vendor(bits, vendor)  # legitimate interest: read past
    restricted = _restricted(bits, vendor)
    return vendor_consented and all(consented >> 24 - p & 1 and p not in restricted for p in purposes)


def _vendor(bits: Bits, vendor: int) -> bool:
    """Whether a vendor section (bit field or ranges) holds `vendor`."""
    highest = bits.integer(16)
    if bits.flag():
        return _in_ranges(bits, vendor)
    if not 1 <= vendor <= highest:
        bits.skip(highest)
        return False
    bits.skip(vendor - 1)
    found = bits.flag()
    bits.skip(highest - vendor)
    return found


def _in_ranges(bits: Bits, vendor: int) -> bool:
    found = False
    for _ in range(bits.integer(12)):
        is_range = bits.flag()
        start = bits.integer(16)
        end = bits.integer(16) if is_range else start
        found = found or start <= vendor <= end
    return found


def _restricted(bits: Bits, vendor: int) -> set[int]:
    """Purposes that the publisher forbids `vendor`, or allows on legitimate interest only."""
    purposes = set()
    for _ in range(bits.integer(12)):
        purpose, kind = bits.integer(6), bits.integer(2)
        if _in_ranges(bits, vendor) and kind != _CONSENT_OR_BETTER:
            purposes.add(purpose)
    return purposes


def gpp_sections(text: str) -> dict[int, str]:
    """The sections of a GPP string by id, still encoded.

    Raises
    ------
    Undecodable
        The header is not one, or announces another number of sections than follow.
    """
    header, *sections = text.split("~")
    bits = Bits(header)
    if (bits.integer(6), bits.integer(6)) != (3, 1):
        raise Undecodable("expected a GPP header of version 1")
    ids: list[int] = []
    last = 0
    for _ in range(bits.integer(12)):
        is_range = bits.flag()
        first = last + bits.fibonacci()
        last = first + bits.fibonacci() if is_range else first
        if last - first > len(sections):
            raise Undecodable("announces more sections than follow")
        ids.extend(range(first, last + 1))
    if len(ids) != len(sections):
        raise Undecodable("announces another number of sections than follow")
    return dict(zip(ids, sections, strict=True))


def us_opted_out(section: int, text: str) -> bool:
    """Whether a US section of a GPP string opts out of sale, sharing or targeted advertising.

    Raises
    ------
    Undecodable
        A section, version or value that is not in the specification.
    """
    if section == US_PRIVACY:
        return us_privacy_opted_out(text)
    if section not in _US_SECTIONS:
        raise Undecodable("expected a US section that is specified")
    core, *more = text.split(".")
    bits = Bits(core)
    notices, opt_outs = _US_SECTIONS[section]
    if bits.integer(6) not in ((1, 2) if section == US_NATIONAL else (1,)):
        raise Undecodable("expected a version that is specified")
    bits.skip(2 * notices)
    choices = [bits.integer(2) for _ in range(opt_outs)]
    if _INVALID in choices:
        raise Undecodable("expected 0, 1 or 2 for an opt-out")
    return _OPTED_OUT in choices or any(_global_privacy_control(segment) for segment in more)


def _global_privacy_control(segment: str) -> bool:
    bits = Bits(segment)
    return bits.integer(2) == _GPC_SEGMENT and bits.flag()


def us_privacy_opted_out(text: str) -> bool:
    """Whether a US Privacy string (`1YNN`) opts out of sale.

    Raises
    ------
    Undecodable
        Not version 1, or other characters than Y, N and -.
    """
    choices = text.upper()
    if len(choices) != 4 or choices[0] != "1" or not set(choices[1:]) <= {"Y", "N", "-"}:
        raise Undecodable("expected 1 and three of Y, N, -")
    return choices[2] == "Y"
