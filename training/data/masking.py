"""Histories withheld or lost, rows drawn: `Columns` enter, `Columns` leave, the rest unchanged bit for bit.

Training masks the user block of a share of rows, so that a lost cache is not read as a new user.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.features.columns import ABSENT, Columns, Floats, Ints, Texts
from app.features.layout import Layout
from app.features.spec import HistoryState
from training.data.arrow import Bools
from training.data.entries import ranges


def draw_mask(n: int, share: float, seed: int, start: int = 0) -> tuple[Bools, Ints]:
    """Draw whose history is hidden: each user with probability `share`, half UNAVAILABLE, half WITHHELD.

    Parameters
    ----------
    n : int
    share : float
    seed : int
    start : int
        Users drawn before: the n from there on get what they would get in one draw of all.

    Returns
    -------
    rows : ndarray of shape (n,), bool
    states : ndarray of shape (n,), int64
        The state of a masked user; to be ignored elsewhere.
    """
    bits = np.random.PCG64(seed).advance(2 * start)  # a float64 takes one step
    draws = np.random.Generator(bits).random((n, 2))
    states = np.where(draws[:, 1] < 0.5, HistoryState.UNAVAILABLE, HistoryState.WITHHELD)
    return draws[:, 0] < share, states.astype(np.int64)


def mask_history(columns: Columns, layout: Layout, rows: Bools, states: Ints) -> Columns:
    """Hide the whole user block of some users.

    Parameters
    ----------
    columns : Columns of n_users
    layout : Layout
    rows : ndarray of shape (n_users,), bool
        Whose history is hidden.
    states : ndarray of shape (n_users,), int64
        The new state of those users.

    Returns
    -------
    Columns
        Masked users look like a request without a history: counts `ABSENT`, no values, numbers and lookups NaN,
        texts missing.
    """
    n_request_numbers = len(layout.request_numbers)
    numbers = columns.numbers.copy()
    numbers[rows, n_request_numbers:] = np.nan
    counts = np.where(rows[:, None], ABSENT, columns.counts)
    lengths = np.maximum(columns.counts[:, : layout.n_numeric], 0)
    shown = np.broadcast_to(~rows[:, None], lengths.shape)
    if columns.segment_major:
        shown, lengths = shown.T, lengths.T
    return replace(
        columns,
        state=np.where(rows, states, columns.state),
        numbers=numbers,
        texts=_without(columns.texts, len(layout.request_texts), rows),
        counts=counts,
        values=columns.values[np.repeat(shown.ravel(), lengths.ravel())],
        user_lookups=np.where(rows[:, None], np.nan, columns.user_lookups),
        row_lookups=np.where(rows[columns.owner][:, None], np.nan, columns.row_lookups),
    )


def take(columns: Columns, layout: Layout, index: Ints) -> Columns:
    """Choose rows of an offline batch, where every user has one row.

    Parameters
    ----------
    columns : Columns of n rows
    layout : Layout
    index : ndarray of shape (n_taken,), int64
        Positions, in any order, repeated or not.

    Raises
    ------
    ValueError
        A user has several rows or none.
    """
    if not np.array_equal(columns.owner, np.arange(columns.n_users)):
        raise ValueError("take: expected one row a user, received a batch with several campaigns a request")
    return replace(
        columns,
        owner=np.arange(len(index), dtype=np.int64),
        now=columns.now[index],
        state=columns.state[index],
        numbers=columns.numbers[index],
        campaign_numbers=columns.campaign_numbers[index],
        texts=replace(columns.texts, codes=columns.texts.codes[index]),
        campaign_texts=replace(columns.campaign_texts, codes=columns.campaign_texts.codes[index]),
        counts=columns.counts[index],
        values=_values(columns, layout, index),
        user_lookups=columns.user_lookups[index],
        row_lookups=columns.row_lookups[index],
    )


def _values(columns: Columns, layout: Layout, index: Ints) -> Floats:
    lengths = np.maximum(columns.counts[:, : layout.n_numeric], 0)
    if not columns.segment_major:
        return columns.values[ranges(_starts(lengths)[index].ravel(), lengths[index].ravel())]
    lengths = np.ascontiguousarray(lengths.T)
    starts = _starts(lengths)
    # One segment at a time: the positions of all at once would be as large as the values.
    parts = [columns.values[ranges(s[index], n[index])] for s, n in zip(starts, lengths, strict=True)]
    return np.concatenate([np.empty(0), *parts])


def _starts(lengths: Ints) -> Ints:
    """First position of every run, the runs lying one after the other in C order."""
    return (np.cumsum(lengths.ravel()) - lengths.ravel()).reshape(lengths.shape)


def _without(texts: Texts, first: int, rows: Bools) -> Texts:
    """The texts with the columns from `first` on missing in some rows."""
    entries: list[str | None] = []
    starts, codes = [0], np.empty_like(texts.codes)
    for column in range(codes.shape[1]):
        own = list(texts.entries[texts.starts[column] : texts.starts[column + 1]])
        codes[:, column] = texts.codes[:, column] - texts.starts[column] + len(entries)
        if column >= first:
            if None not in own:
                own.append(None)
            codes[rows, column] = len(entries) + own.index(None)
        entries += own
        starts.append(len(entries))
    return Texts(entries, starts, codes)
