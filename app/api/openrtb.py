"""BidRequests read. Bytes enter; a `Call` leaves: raw columns, campaigns, history, identity, and what forbids it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from app.api.places import bid_twin
from app.api.privacy import Gate
from app.api.problems import input_error
from app.api.schemas import MAX_CAMPAIGNS, campaign_model, campaigns_model, field_names, request_model
from app.errors import InputError
from app.features.countries import ALPHA2_BY_ALPHA3
from app.features.history import History, parse_history
from app.features.layout import Layout
from app.features.spec import Field

HOUR_S: Final = 3600
_Object = Mapping[str, Any]
_Normalise = Callable[[str], str]
_NOTHING: Final[_Object] = {}
_HISTORY: Final = (b"user", b"ext", b"history")


@dataclass(slots=True)
class Call:
    """One BidRequest as the service understands it.

    Parameters
    ----------
    id : str
    ts : float
        Unix seconds: `ext.ts`, else the server's clock.
    now : int
        Floor of `ts` to the hour.
    request : dict
        Request columns by name.
    campaigns : list of dict
        Campaign columns by name, and `id`; the valid ones, in order.
    refused : dict of int to (id or None, InputError)
        The entries of `ext.campaigns` that are not valid, by their place.
    history : History or None
        What was sent inline; None where nothing was, or where it is withheld.
    withheld : str or None
        Why the history may not be used.
    identity : str or None
        Text that names the user; None where nothing does, or where the history is withheld.
    deadline_ms, tmax_ms : int or None
    """

    id: str
    ts: float
    now: int
    request: dict[str, Any]
    campaigns: list[dict[str, Any]]
    refused: dict[int, tuple[str | None, InputError]]
    history: History | None
    withheld: str | None
    identity: str | None
    deadline_ms: int | None
    tmax_ms: int | None


class Reader:
    """Reads BidRequests of one declaration. Every dotted place is walked once here, not at each request.

    Parameters
    ----------
    layout : Layout
    gate : Gate
    max_campaigns : int
    """

    def __init__(self, layout: Layout, gate: Gate, max_campaigns: int = MAX_CAMPAIGNS) -> None:
        declaration = layout.declaration
        self.layout = layout
        self.twin = bid_twin(layout, max_campaigns, _NORMALISE)
        self.words = field_names(declaration)
        self.model = request_model(declaration, max_campaigns)
        self._gate = gate
        self._validate = self.model.__pydantic_validator__.validate_json
        self._validate_campaign = campaign_model(declaration).validator.validate_python
        self._validate_campaigns = campaigns_model(declaration).validator.validate_python
        self._places = _places(declaration.scope("request"))
        self._written = _written(declaration.scope("campaign"))

    def read(self, body: bytes, clock: float) -> Call:
        """Validate and take apart one BidRequest.

        Parameters
        ----------
        body : bytes
            JSON.
        clock : float
            The server's time, unix seconds, for a call without `ext.ts`.

        Raises
        ------
        InputError
            Naming the first field that is wrong.
        """
        found = None if self.twin is None else self.twin.read(body)
        if found is None:
            return self._validate_and_read(body, clock)
        (name, ts, deadline_ms, tmax, ifa, user_id, buyeruid, device, user, regs, campaigns, columns, packed, as_of,
         empty) = found  # fmt: skip
        ts = clock if ts is None else ts
        withheld = self._gate.reason(device, user, regs)
        if as_of is not None and as_of > ts + HOUR_S:
            raise _too_new()
        return Call(
            name,
            ts,
            int(ts) // HOUR_S * HOUR_S,
            columns,
            campaigns,
            {},
            None if packed is None or withheld else History(packed, as_of, empty),
            withheld,
            None if withheld else identity(ifa, user_id, buyeruid),
            deadline_ms,
            tmax,
        )

    def _validate_and_read(self, body: bytes, clock: float) -> Call:
        """The definition: by pydantic's model."""
        bid, taken = self._validated(body)
        device, user, ext = bid.device or _NOTHING, bid.user or _NOTHING, bid.ext
        ts = ext.get("ts")
        if ts is None:
            ts = clock
        withheld = self._gate.reason(device, user, bid.regs)
        campaigns, refused = self._campaigns(ext["campaigns"])
        return Call(
            id=bid.id,
            ts=ts,
            now=int(ts) // HOUR_S * HOUR_S,
            request=self._request(bid),
            campaigns=campaigns,
            refused=refused,
            history=self._history(user, taken, ts, withheld),
            withheld=withheld,
            identity=None if withheld else identity(device.get("ifa"), user.get("id"), user.get("buyeruid")),
            deadline_ms=ext.get("deadline_ms"),
            tmax_ms=bid.tmax,
        )

    def _validated(self, body: bytes) -> tuple[Any, History | None]:
        """The request, and the history where compiled code has read it: then the request has none."""
        twin = self.layout.histories
        taken = None if twin is None else twin.take(body, _HISTORY, b"null")
        if taken is not None:
            try:
                return self._validate(taken[0]), taken[1]
            except ValidationError:
                pass  # what is wrong with it is told of the body as it came
        try:
            return self._validate(body), None
        except ValidationError as error:
            raise input_error(error, self.words) from None

    def _request(self, bid: Any) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for root, steps, leaves in self._places:
            part = getattr(bid, root)
            for step in steps:
                if not part:
                    break
                part = part.get(step)
            if part:
                for key, name, normalise in leaves:
                    value = part.get(key)
                    if value is not None:
                        columns[name] = value if normalise is None else normalise(value)
        return columns

    def _campaigns(
        self, entries: Sequence[Any]
    ) -> tuple[list[dict[str, Any]], dict[int, tuple[str | None, InputError]]]:
        refused: dict[int, tuple[str | None, InputError]] = {}
        try:
            valid: list[dict[str, Any]] = self._validate_campaigns(entries)
        except ValidationError:
            valid, refused = self._one_by_one(entries)
        if self._written:
            for campaign in valid:
                for name, normalise in self._written:
                    if campaign.get(name) is not None:
                        campaign[name] = normalise(campaign[name])
        return valid, refused

    def _one_by_one(
        self, entries: Sequence[Any]
    ) -> tuple[list[dict[str, Any]], dict[int, tuple[str | None, InputError]]]:
        """Each on its own: one that is wrong does not spoil the others."""
        valid: list[dict[str, Any]] = []
        refused: dict[int, tuple[str | None, InputError]] = {}
        for place, entry in enumerate(entries):
            try:
                valid.append(self._validate_campaign(entry))
            except ValidationError as error:
                refused[place] = (_id_of(entry), input_error(error, self.words, f"ext.campaigns.{place}"))
        return valid, refused

    def _history(self, user: _Object, taken: History | None, ts: float, withheld: str | None) -> History | None:
        ext = user.get("ext")
        sent: Any = ext.get("history") if taken is None and ext else None
        if taken is None and sent is None:
            return None
        as_of = whole_as_of(sent) if taken is None else taken.as_of
        if as_of is not None and as_of > ts + HOUR_S:
            raise _too_new()
        if withheld:
            return None
        return parse_history(self.layout, sent) if taken is None else taken


class Readers:
    """The reader of whatever declaration is live; swaps to another bundle of the same one keep it.

    Parameters
    ----------
    gate : Gate
    max_campaigns : int
    """

    def __init__(self, gate: Gate, max_campaigns: int) -> None:
        self._gate = gate
        self._max_campaigns = max_campaigns
        self._layout: Layout | None = None
        self._reader: Reader | None = None

    def of(self, layout: Layout) -> Reader:
        """The reader for a layout; made at the first call, which takes some 50 ms."""
        if self._reader is None or layout is not self._layout:
            if self._reader is None or not _same(layout, self._reader.layout):
                self._reader = Reader(layout, self._gate, self._max_campaigns)
            self._layout = layout
        return self._reader


def identity(ifa: str | None, *user_ids: str | None) -> str | None:
    """The text that names a user, the same wherever it is derived; None where nothing names one.

    Parameters
    ----------
    ifa : str or None
        The advertising id; hexadecimal, so its case does not matter. Empty or all zeros is none.
    *user_ids : str or None
        `user.id`, then `user.buyeruid`; the first that is not empty counts, and only without an ifa.
    """
    if ifa:
        plain = ifa.strip().lower()
        if plain.strip("0-"):
            return f"ifa:{plain}"
    for user_id in user_ids:
        if user_id:
            return f"user_id:{user_id}"
    return None


def whole_as_of(history: dict[str, Any]) -> int | None:
    """Bring `as_of` to whole seconds, in place."""
    as_of = history.get("as_of")
    if as_of is None:
        return None
    history["as_of"] = whole = int(as_of)
    return whole


def country(text: str) -> str:
    """Lower-case alpha-2 of an ISO 3166-1 alpha-3 code; anything else in lower case."""
    return ALPHA2_BY_ALPHA3.get(text.upper()) or text.lower()


_NORMALISE: Final[Mapping[str, _Normalise | None]] = {"raw": None, "lower": str.lower, "country": country}


def _places(
    columns: Sequence[Field],
) -> tuple[tuple[str, tuple[str, ...], tuple[tuple[str, str, _Normalise | None], ...]], ...]:
    """Request columns by the object that holds them: (root, steps below it, (key, column, normalisation)s)."""
    holders: dict[tuple[str, ...], list[tuple[str, str, _Normalise | None]]] = {}
    for column in columns:
        *parents, key = (column.wire or column.name).split(".")
        holders.setdefault(tuple(parents), []).append((key, column.name, _NORMALISE[column.format]))
    return tuple((parents[0], parents[1:], tuple(leaves)) for parents, leaves in holders.items())


def _written(columns: Sequence[Field]) -> tuple[tuple[str, _Normalise], ...]:
    """Campaign columns that are not kept as written."""
    pairs = ((column.name, _NORMALISE[column.format]) for column in columns)
    return tuple((name, normalise) for name, normalise in pairs if normalise is not None)


def _too_new() -> InputError:
    return InputError("expected at most an hour after the request's time", "user.ext.history.as_of")


def _id_of(entry: Any) -> str | None:
    found = entry.get("id") if isinstance(entry, dict) else None
    return found if isinstance(found, str) else None


def _same(one: Layout, other: Layout) -> bool:
    return one.declaration.fingerprint == other.declaration.fingerprint
