"""Where a BidRequest holds what the service reads, for the compiled reader. The wire types enter, `Place`s leave.

What a place may hold is said by `app.api.schemas` alone; here stands only what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from app.api.schemas import (
    FIXED,
    INT32,
    YEAR_2100,
    Instant,
    Integer,
    Milliseconds,
    Number,
    Text,
    campaign_tree,
    request_tree,
)
from app.features.bids import MOST_PLACES, BidTwin, Kind, Place
from app.features.layout import Layout
from app.features.spec import Declaration

SLOTS: Final = (
    "id", "ext.ts", "ext.deadline_ms", "tmax", "device.ifa", "user.id", "user.buyeruid", "device", "user", "regs",
    "ext.campaigns",
)  # fmt: skip
"""Values in the order in which they are handed out."""

Formats = Mapping[str, Callable[[str], str] | None]
"""What a text becomes, by the `format` of its column; None: it stays as it was written."""

_IMP: Final = "imp"
_CAMPAIGNS: Final = "ext.campaigns"
_HISTORY: Final = "user.ext.history"
_REQUIRED: Final = frozenset({"id", _IMP, f"{_IMP}.id", "ext", _CAMPAIGNS, f"{_CAMPAIGNS}.id"})
_SCALARS: Final = (
    (Text, Kind.TEXT, (None, None)),
    (Number, Kind.NUMBER, (None, None)),
    (Instant, Kind.NUMBER, (0, YEAR_2100)),
    (Integer, Kind.WHOLE, (-INT32, INT32)),
    (Milliseconds, Kind.WHOLE, (0, INT32)),
    (list[Integer], Kind.WHOLES, (-INT32, INT32)),
)


def bid_twin(layout: Layout, max_campaigns: int, formats: Formats) -> BidTwin | None:
    """The compiled reader of a layout's requests; None where no bundle has brought the code, or it is not enough.

    It has room for `MOST_PLACES`, and hands a value out as one column: of a declaration with two columns of one place
    it would lose one.

    Parameters
    ----------
    layout : Layout
    max_campaigns : int
    formats : mapping
    """
    places = _Table(layout.declaration, max_campaigns, formats).places
    wires = [column.wire for column in layout.declaration.scope("request")]
    if layout.histories is None or len(places) > MOST_PLACES or len({*wires}) < len(wires):
        return None
    return BidTwin(layout.histories, places, len(SLOTS))


class _Table:
    """A tree of types on its way to places."""

    def __init__(self, declaration: Declaration, max_campaigns: int, formats: Formats) -> None:
        self._most = {_IMP: None, _CAMPAIGNS: max_campaigns}
        self._columns = {f"{_CAMPAIGNS}.id": ("id", formats["raw"])}
        for column in declaration.scope("request"):
            self._columns[column.wire or column.name] = column.name, formats[column.format]
        for column in declaration.scope("campaign"):
            self._columns[f"{_CAMPAIGNS}.{column.name}"] = column.name, formats[column.format]
        self._n_nodes = 1
        tree = {**request_tree(declaration), "id": Text, _IMP: {"id": Text}}
        tree["ext"] = {**tree["ext"], "campaigns": campaign_tree(declaration)}
        self.places = list(self._object(tree, 0, ""))

    def _object(self, tree: Mapping[str, Any], node: int, path: str) -> Iterator[Place]:
        for name, kind in tree.items():
            at = f"{path}{name}"
            if at == _HISTORY:
                yield Place(node, name, Kind.HISTORY)
            elif isinstance(kind, dict):
                child, self._n_nodes = self._n_nodes, self._n_nodes + 1
                yield self._holder(node, name, at, child)
                yield from self._object(kind, child, f"{at}.")
            else:
                yield self._scalar(node, name, at, kind)

    def _holder(self, node: int, name: str, at: str, child: int) -> Place:
        """An object, or a list of objects. Of an object what the gate looks at is kept in a dictionary."""
        slot, required = _slot(at), at in _REQUIRED
        if at in self._most:
            most = self._most[at] or INT32
            return Place(node, name, Kind.OBJECTS, child, slot, required=required, least=1, most=most)
        return Place(node, name, Kind.OBJECT, child, slot, key=name if slot is None else None, required=required)

    def _scalar(self, node: int, name: str, at: str, wire: Any) -> Place:
        kind, (least, most) = next((kind, bounds) for known, kind, bounds in _SCALARS if known == wire)
        column, written = self._columns.get(at, (None, None))
        return Place(
            node,
            name,
            kind,
            slot=_slot(at),
            key=name if at in FIXED and _slot(at) is None else None,
            column=column,
            written=written,
            required=at in _REQUIRED,
            least=least,
            most=most,
        )


def _slot(at: str) -> int | None:
    return SLOTS.index(at) if at in SLOTS else None
