"""The privacy gate. What a BidRequest says about consent enters; the reason to withhold the history leaves, or None.

Places of OpenRTB 2.6 are read first, those of 2.5 (`.ext`) where the former are absent. What cannot be decoded
withholds; so does an unknown state where the specification asks for a known one. A gate only ever tightens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from app.api.bits import Undecodable
from app.api.consent import (
    TCF_EU_V2,
    US_PRIVACY,
    gpp_sections,
    tcf_allows,
    us_opted_out,
    us_privacy_opted_out,
)

_Object = Mapping[str, Any]
_NOTHING: Final[_Object] = {}
_KNOWN_STRINGS: Final = 1024  # decoded strings kept of each kind
_KNOWN_SYSTEMS: Final = 4096  # operating systems in their versions
_LONGEST_SYSTEM: Final = 64  # characters of both; a longer name is not kept
_LONGEST: Final = 6144  # characters; a longer string withholds, unread and unkept
_TCF_EU_V1: Final = 1
_APPLE: Final = ("ios", "ipados", "tvos", "iphone", "ipad")  # "iPhone OS" is what iOS calls itself
_ATT_SINCE: Final = (14, 5)  # the version in which iOS began to ask
_ATT_AUTHORIZED: Final = 3
_VERSION: Final = re.compile(r"\s*([0-9]{1,6})(?:[.,_]([0-9]{1,6}))?")


class Gate:
    """Decides whether a user's history may be used at all.

    Parameters
    ----------
    vendor : int or None
        Our id on the Global Vendor List; None: where GDPR applies nothing can consent to us.
    purposes : collection of int
        TCF purposes that must all be consented to.
    """

    def __init__(self, vendor: int | None, purposes: frozenset[int]) -> None:
        self._vendor = vendor
        self._purposes = purposes
        remember = lru_cache(_KNOWN_STRINGS)
        self._consents: Callable[[str], bool] = remember(self._decode_consent)
        self._sections: Callable[[str], Mapping[int, str] | None] = remember(_decode_gpp)

    def reason(self, device: _Object | None, user: _Object | None, regs: _Object | None) -> str | None:
        """Why the history is withheld: `lmt`, `dnt`, `coppa`, `gdpr`, `us_privacy`, `gpp` or `atts`; None: it is not.

        Parameters
        ----------
        device, user, regs : mapping or None
            Validated parts of the BidRequest.
        """
        if device:
            if device.get("lmt"):
                return "lmt"
            if device.get("dnt"):
                return "dnt"
            if _tracking_denied(device):
                return "atts"
        if regs and regs.get("coppa"):
            return "coppa"
        if regs or (user and (user.get("consent") or user.get("ext"))):
            return self._by_law(regs or _NOTHING, user or _NOTHING)
        return None

    def _by_law(self, regs: _Object, user: _Object) -> str | None:
        gpp, applicable = _first(regs, "gpp"), _first(regs, "gpp_sid")
        sections: Mapping[int, str] | None = _NOTHING_ENCODED
        if gpp:
            sections = self._sections(gpp) if len(gpp) <= _LONGEST else None
        if self._gdpr_denies(regs, user, sections or _NOTHING_ENCODED, applicable):
            return "gdpr"
        us_privacy = _first(regs, "us_privacy")
        if us_privacy and _us_privacy_denies(us_privacy):
            return "us_privacy"
        if gpp or applicable:
            return self._by_gpp(sections, applicable, covered=bool(us_privacy))
        return None

    def _gdpr_denies(
        self, regs: _Object, user: _Object, sections: Mapping[int, str], applicable: Sequence[int] | None
    ) -> bool:
        flag = _first(regs, "gdpr")
        consent = _first(user, "consent") or sections.get(TCF_EU_V2)
        named = bool(applicable) and not {_TCF_EU_V1, TCF_EU_V2}.isdisjoint(applicable or ())
        if flag == 0 and not named:
            return False
        # Without a flag, a consent string or a GPP that does not say what applies is reason enough to look.
        applies = bool(flag) or named or (consent is not None and not applicable)
        return applies and not (consent and len(consent) <= _LONGEST and self._consents(consent))

    def _by_gpp(
        self, sections: Mapping[int, str] | None, applicable: Sequence[int] | None, covered: bool
    ) -> str | None:
        if sections is None and not (applicable and max(applicable) <= 0):
            return "gpp"
        sections = sections or _NOTHING_ENCODED
        for section in sections if applicable is None else applicable:
            if section < US_PRIVACY or (section == US_PRIVACY and covered and section not in sections):
                continue
            if section not in sections or _us_section_denies(section, sections[section]):
                return "gpp"
        return None

    def _decode_consent(self, text: str) -> bool:
        if self._vendor is None:
            return False
        try:
            return tcf_allows(text, self._vendor, self._purposes)
        except Undecodable:
            return False


_NOTHING_ENCODED: Final[Mapping[int, str]] = {}


def _first(part: _Object, name: str) -> Any:
    """A field in its place of OpenRTB 2.6, else in `.ext`, its place of 2.5; an empty text is absent."""
    value = part.get(name)
    if value is None or value == "" or value == []:
        ext = part.get("ext")
        value = ext.get(name) if ext else None
    return None if value in ("", []) else value


def _tracking_denied(device: _Object) -> bool:
    """Whether App Tracking Transparency has not been answered with "authorized", where it is asked at all."""
    os = device.get("os")
    if not os:
        return False
    version = device.get("osv") or ""
    asks = _asks_to_track if len(os) + len(version) > _LONGEST_SYSTEM else _known_to_ask
    if not asks(os, version):
        return False
    return (device.get("ext") or _NOTHING).get("atts") != _ATT_AUTHORIZED


def _asks_to_track(os: str, version: str) -> bool:
    """Whether an operating system has App Tracking Transparency; one of Apple's of an unknown version does."""
    if not os.strip().lower().startswith(_APPLE):
        return False
    found = _VERSION.match(version)
    return not found or (int(found[1]), int(found[2] or 0)) >= _ATT_SINCE


_known_to_ask: Final = lru_cache(_KNOWN_SYSTEMS)(_asks_to_track)


def _us_privacy_denies(text: str) -> bool:
    try:
        return us_privacy_opted_out(text)
    except Undecodable:
        return True


def _decode_gpp(text: str) -> Mapping[int, str] | None:
    try:
        return gpp_sections(text)
    except Undecodable:
        return None


def _us_section_denies(section: int, text: str) -> bool:
    try:
        return us_opted_out(section, text)
    except Undecodable:
        return True
