"""`Layout`: where each declared field lies in `Columns` and in a packed history: a declaration as positions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.features.spec import CLOCK_KEYS, TEXTS, Declaration, Field, Lookup

if TYPE_CHECKING:
    from app.features.histories import HistoryTwin


@dataclass(frozen=True, slots=True)
class Segment:
    """One level of one ragged field: entries of a map or list (`outer`), or all numbers of a nested map (`inner`)."""

    field: Field
    inner: bool = False

    @property
    def numeric(self) -> bool:
        """Whether its entries have values in the flat array (lists of strings have only a count)."""
        return self.field.kind != "strings"


class Layout:
    """Positions of every declared field in `Columns` and in a packed history.

    Attributes
    ----------
    request_numbers, campaign_numbers, user_numbers : tuple of Field
        Scalars with a number (kinds number and timestamp).
    request_texts, campaign_texts, user_texts : tuple of Field
        Scalars with a text (kinds category, month and version).
    ragged : tuple of Field
        Ragged user fields, in declared order.
    segments : tuple of Segment
        Numeric segments first (outer of each numeric ragged field, then inner of each nested), then lists of strings.
    n_numeric : int
        How many segments have values.
    user_lookups, row_lookups : tuple of Lookup
        Lookups by a key of the request (or the clock), and by a key of the campaign.
    keyed : tuple of Field
        Ragged fields whose keys are needed, because something is looked up in them.
    histories : HistoryTwin or None
        The compiled reader of histories, where a bundle's library brings one.
    """

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self.histories: HistoryTwin | None = None
        request, campaign, user = (declaration.scope(s) for s in ("request", "campaign", "user"))
        self.request_numbers, self.request_texts = _numbers(request), _texts(request)
        self.campaign_numbers, self.campaign_texts = _numbers(campaign), _texts(campaign)
        self.user_numbers, self.user_texts = _numbers(user), _texts(user)
        self.ragged = tuple(f for f in user if f.ragged)
        numeric = [Segment(f) for f in self.ragged if f.kind != "strings"]
        inner = [Segment(f, inner=True) for f in self.ragged if f.nested]
        self.segments = (*numeric, *inner, *(Segment(f) for f in self.ragged if f.kind == "strings"))
        self.n_numeric = len(numeric) + len(inner)
        campaign_keys = {f.name for f in campaign}
        self.row_lookups = tuple(k for k in declaration.lookups if k.key in campaign_keys)
        self.user_lookups = tuple(k for k in declaration.lookups if k.key not in campaign_keys)
        wanted = {k.field for k in declaration.lookups}
        self.keyed = tuple(f for f in self.ragged if f.name in wanted)

    @cached_property
    def numeric_shapes(self) -> tuple[tuple[str, bool, bool], ...]:
        """Name, whether nested and whether temporal of each ragged field with numbers, in order."""
        return tuple((f.name, f.nested, f.temporal) for f in self.ragged if f.kind != "strings")

    @cached_property
    def string_names(self) -> tuple[str, ...]:
        """Ragged fields without numbers, in order."""
        return tuple(f.name for f in self.ragged if f.kind == "strings")

    @cached_property
    def keyed_names(self) -> tuple[str, ...]:
        """The names of `keyed`."""
        return _names(self.keyed)

    @cached_property
    def user_number_names(self) -> tuple[str, ...]:
        """The names of `user_numbers`."""
        return _names(self.user_numbers)

    @cached_property
    def user_text_names(self) -> tuple[str, ...]:
        """The names of `user_texts`."""
        return _names(self.user_texts)

    @cached_property
    def request_number_names(self) -> tuple[str, ...]:
        """The names of `request_numbers`."""
        return _names(self.request_numbers)

    @cached_property
    def request_text_names(self) -> tuple[str, ...]:
        """The names of `request_texts`."""
        return _names(self.request_texts)

    @cached_property
    def campaign_number_names(self) -> tuple[str, ...]:
        """The names of `campaign_numbers`."""
        return _names(self.campaign_numbers)

    @cached_property
    def campaign_text_names(self) -> tuple[str, ...]:
        """The names of `campaign_texts`."""
        return _names(self.campaign_texts)

    @cached_property
    def temporal(self) -> NDArray[np.bool_]:
        """(n_numeric,) whether a numeric segment holds unix seconds."""
        return np.array([s.field.temporal for s in self.segments[: self.n_numeric]], dtype=bool)

    @cached_property
    def keyed_segments(self) -> tuple[int, ...]:
        """The outer segment of each keyed field."""
        outer = {s.field.name: i for i, s in enumerate(self.segments) if not s.inner}
        return tuple(outer[f.name] for f in self.keyed)

    @cached_property
    def user_slots(self) -> tuple[int, ...]:
        """Position among `keyed` of each user lookup's field."""
        return self._slots(self.user_lookups)

    @cached_property
    def row_slots(self) -> tuple[int, ...]:
        """Position among `keyed` of each row lookup's field."""
        return self._slots(self.row_lookups)

    @cached_property
    def user_lookup_plan(self) -> tuple[tuple[int, str, bool], ...]:
        """Slot, key and whether the clock has that key, of each user lookup."""
        pairs = zip(self.user_slots, self.user_lookups, strict=True)
        return tuple((slot, k.key, k.key in CLOCK_KEYS) for slot, k in pairs)

    @cached_property
    def row_lookup_plan(self) -> tuple[tuple[int, str], ...]:
        """Slot and key of each row lookup."""
        return tuple((slot, k.key) for slot, k in zip(self.row_slots, self.row_lookups, strict=True))

    def _slots(self, lookups: Sequence[Lookup]) -> tuple[int, ...]:
        names = [f.name for f in self.keyed]
        return tuple(names.index(k.field) for k in lookups)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all that the packed form of a history depends on, so that a cache outlives other changes."""
        parts = [f"{f.name}:{f.kind}:{f in self.keyed}" for f in self.declaration.scope("user")]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @cached_property
    def numbers(self) -> tuple[Field, ...]:
        """The columns of `Columns.numbers`: request numbers, then user numbers."""
        return (*self.request_numbers, *self.user_numbers)

    @cached_property
    def texts(self) -> tuple[Field, ...]:
        """The columns of `Columns.texts`: request texts, then user texts."""
        return (*self.request_texts, *self.user_texts)

    def lookup_kind(self, lookup: Lookup) -> Field:
        """The ragged field that a lookup reads."""
        return self.declaration.field(lookup.field)


def _names(fields: Sequence[Field]) -> tuple[str, ...]:
    return tuple(f.name for f in fields)


def _numbers(fields: Sequence[Field]) -> tuple[Field, ...]:
    return tuple(f for f in fields if f.kind in ("number", "timestamp"))


def _texts(fields: Sequence[Field]) -> tuple[Field, ...]:
    return tuple(f for f in fields if f.kind in TEXTS)
