"""Blocks of columns to parquet.

Maps are `map<string, double>` or, for counts and timestamps, `map<string, int64>`. Four are written in the other
encoding that the original uses, `list<struct<key: string, value: …>>`: bcat, bcat_bottom_taxonomy, hour_ratio and
rwd_prank. The twice-nested ones are `map<string, list<struct<key: string, value: int64>>>`. No Arrow schema is stored
beside the parquet schema, so that the dictionaries used to write strings fast are read back as plain strings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.data.synthetic.columns import (
    Column,
    Columns,
    Floats,
    Identifiers,
    Ints,
    Nested,
    Ragged,
    Scalar,
    Text,
    Vocabulary,
)

MARK = {"pltv.generated": "1"}
"""Key-value metadata that tells a generated file from anybody's own."""


class TableWriter:
    """One parquet file, a row group a block; opened by the first block.

    Parameters
    ----------
    path : Path
        File to write; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: pq.ParquetWriter | None = None

    def write(self, columns: Columns) -> None:
        """Append a block as one row group."""
        arrays = [_array(column) for column in columns.values()]
        table = pa.Table.from_arrays(arrays, names=list(columns))
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self.path, table.schema, compression="zstd", compression_level=1, store_schema=False
            )
            self._writer.add_key_value_metadata(MARK)
        self._writer.write_table(table, row_group_size=table.num_rows)

    def close(self) -> None:
        """Write the footer."""
        if self._writer is not None:
            self._writer.close()


def _array(column: Column) -> pa.Array:
    match column:
        case Scalar():
            return pa.array(column.values, mask=None if column.valid is None else ~column.valid)
        case Text():
            return _strings(column.codes, column.vocabulary)
        case Identifiers():
            return _fixed(column)
        case Ragged():
            return _ragged(column)
        case Nested():
            return _nested(column)


def _strings(codes: Ints, vocabulary: Vocabulary) -> pa.Array:
    """A dictionary array that holds the words in use only: a small file does not carry the whole vocabulary."""
    used = np.zeros(len(vocabulary) + 1, dtype=bool)
    used[codes] = True  # code −1 marks the place behind the last word
    words = vocabulary.arrow.take(pa.array(np.flatnonzero(used[:-1])))
    position = (np.cumsum(used) - 1).astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(position[codes], mask=codes < 0), words, safe=False)


def _ragged(column: Ragged) -> pa.Array:
    offsets = pa.array(column.offsets.astype(np.int32))
    keys, absent = _strings(column.codes, column.vocabulary), pa.array(~column.valid)
    if column.values is None:
        return pa.ListArray.from_arrays(offsets, keys, mask=absent)
    values = pa.array(column.values)
    if column.as_struct:
        pairs = pa.StructArray.from_arrays([keys, values], names=["key", "value"])
        return pa.ListArray.from_arrays(offsets, pairs, mask=absent)
    return pa.MapArray.from_arrays(offsets, keys, values, mask=absent)


def _nested(column: Nested) -> pa.Array:
    inner = [_strings(column.inner_codes, column.inner_vocabulary), pa.array(column.values)]
    pairs = pa.StructArray.from_arrays(inner, names=["key", "value"])
    lists = pa.ListArray.from_arrays(pa.array(column.inner_offsets.astype(np.int32)), pairs)
    offsets = pa.array(column.offsets.astype(np.int32))
    keys = _strings(column.codes, column.vocabulary)
    return pa.MapArray.from_arrays(offsets, keys, lists, mask=pa.array(~column.valid))


def _fixed(column: Identifiers) -> pa.Array:
    width, count = column.values.itemsize, len(column.values)
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(column.values))]
    return pa.Array.from_buffers(pa.string(), count, buffers)


def oracle_columns(identifiers: Column, p_buyer: Floats, expected: dict[str, Floats]) -> Columns:
    """The columns of the oracle file: row_id, p_buyer, e_d1, e_d7, e_d14."""
    sums: dict[str, Any] = {name: Scalar(expected[name]) for name in ("e_d1", "e_d7", "e_d14")}
    return {"row_id": identifiers, "p_buyer": Scalar(p_buyer)} | sums


def is_generated(path: Path) -> bool:
    """True for a parquet file that this module wrote."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return False
    return all(metadata.get(key.encode()) == value.encode() for key, value in MARK.items())
