"""`Columns`: a batch of requests as arrays, the one meeting point of Arrow buffers and JSON.

A *user* is one request with its history; a *row* is one campaign of a request. Offline every user has one row.
All ragged fields of the batch lie in one flat `values` array; a *segment* is the entries of one field of one user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.features.spec import CLOCK_KEYS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ABSENT: Final = -1  # count of a segment whose field is unknown
NOT_FOUND: Final = -np.inf  # a lookup whose key is not in a known map; canonical values are finite
FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


@dataclass(slots=True, eq=False)
class Texts:
    """Text columns by dictionary: cell (i, j) is `entries[codes[i, j]]`.

    Parameters
    ----------
    entries : sequence of (str or None)
        Texts as written (not normalised); None is missing. Column j's entries are
        `entries[starts[j] : starts[j + 1]]`; an entry may occur more than once.
    starts : sequence of int, length n_columns + 1
    codes : ndarray of shape (n, n_columns), int64
        Positions in `entries`.
    plain : bool
        Whether every cell is an entry of its own, column by column: `codes[i, j]` is `j · n + i`.
    encoded : (encoder, ndarray) or None
        What the last encoder made of them, for its next question.
    """

    entries: Sequence[str | None]
    starts: Sequence[int]
    codes: Ints
    plain: bool = False
    encoded: tuple[object, Ints] | None = None

    def spread(self, column: int, known: Sequence[Any], kind: type = np.int64) -> NDArray[Any]:
        """(n,) what is known of each entry of a column, cell by cell."""
        table: NDArray[Any] = np.array(known, dtype=kind)
        return table if self.plain else table[self.codes[:, column] - self.starts[column]]


@dataclass(slots=True, eq=False)
class Columns:
    """A batch in canonical form: the same bits from Arrow, JSON and the cache. Never changed; not frozen in type,
    since twelve guarded assignments would cost a request 4 µs.

    Maps keep the order of their pairs, a duplicate key its first place and last value; null and NaN entries are
    dropped; lists of strings keep the first of equal elements; -0.0 is +0.0; values lie within the float32 range.

    Parameters
    ----------
    owner : ndarray of shape (n_rows,), int64
        The user of each row.
    now : ndarray of shape (n_users,), float64, unix seconds
        Floor of the request's time to the hour.
    state : ndarray of shape (n_users,), int64
        `HistoryState` values.
    numbers : ndarray of shape (n_users, len(layout.numbers)), float64
        NaN is missing; timestamps in unix seconds.
    campaign_numbers : ndarray of shape (n_rows, len(layout.campaign_numbers)), float64
    texts : Texts of n_users rows, columns layout.texts
    campaign_texts : Texts of n_rows rows, columns layout.campaign_texts
    counts : ndarray of shape (n_users, len(layout.segments)), int64
        Entries of each segment; `ABSENT` (-1) where the field is unknown, 0 where it is known and empty.
    values : ndarray of shape (n_values,), float64
        Entries of all numeric segments. User by user, and within a user segment by segment; the other way round
        (segment by segment, and within it user by user) where `segment_major`.
        An outer segment of a nested field holds, for each key, the sum (histogram) or the maximum (timestamps)
        of its inner numbers.
    segment_major : bool
    user_lookups : ndarray of shape (n_users, len(layout.user_lookups)), float64
        Value found (1.0 in a list of strings; unix seconds for timestamps; the outer value of a nested field);
        `NOT_FOUND` where the field is known and lacks the key; NaN where the field or the key is unknown.
    row_lookups : ndarray of shape (n_rows, len(layout.row_lookups)), float64
    """

    owner: Ints
    now: Floats
    state: Ints
    numbers: Floats
    campaign_numbers: Floats
    texts: Texts
    campaign_texts: Texts
    counts: Ints
    values: Floats
    segment_major: bool
    user_lookups: Floats
    row_lookups: Floats

    @property
    def n_users(self) -> int:
        """Number of requests."""
        return len(self.now)

    @property
    def n_rows(self) -> int:
        """Number of campaigns of all requests."""
        return len(self.owner)

    @property
    def one_row_each(self) -> bool:
        """Whether row i is user i's only one."""
        n = len(self.owner)
        return n == len(self.now) and (n == 1 or bool((self.owner == np.arange(n)).all()))

    @property
    def row_state(self) -> Ints:
        """(n_rows,) the history state of each row's user."""
        return self.state[self.owner]


def hour_key(now: float) -> dict[str, str]:
    """The clock's text keys for lookups: hour "00".."23" and weekday "1".."7" (Monday is 1), both UTC."""
    hours = int(now) // 3600
    return dict(zip(CLOCK_KEYS, (f"{hours % 24:02d}", str((hours // 24 + 3) % 7 + 1)), strict=True))
