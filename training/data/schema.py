"""The declaration checks a file: an Arrow schema enters; what is not as declared raises one line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pyarrow as pa

from app.errors import DataError
from app.features.spec import TEXTS, Declaration, Field
from training.data.arrow import is_list, is_number, is_text, pair_types


def target_columns(declaration: Declaration) -> tuple[str, ...]:
    """The gate and the revenue of every horizon: the columns that training reads as labels."""
    targets = declaration.targets
    return tuple(dict.fromkeys((targets.gate, *map(targets.column, targets.horizons))))


def outcomes(declaration: Declaration) -> frozenset[str]:
    """Every column that may never be a feature."""
    return frozenset((*target_columns(declaration), *declaration.targets.excluded))


def check_schema(schema: pa.Schema, declaration: Declaration) -> None:
    """Compare a file's columns with the declaration; columns that are not declared are ignored.

    Raises
    ------
    DataError
        One line: the column, what was expected, what came.
    """
    if leaked := sorted(outcomes(declaration).intersection(f.name for f in declaration.fields)):
        raise DataError(f"{leaked[0]}: expected a feature, received a target")
    _need(schema, declaration.row_id, "the row's identity, a text", is_text)
    for field in declaration.fields:
        _need(schema, field.name, _expected(field), partial(_fits, field))


def check_targets(schema: pa.Schema, declaration: Declaration) -> None:
    """The same for the label columns, which test data lack."""
    for name in target_columns(declaration):
        _need(schema, name, "a target, numbers", partial(is_number, temporal=False))


def check_weight(schema: pa.Schema, name: str) -> None:
    """The same for the column of weights, where there is to be one."""
    _need(schema, name, "weights, numbers", partial(is_number, temporal=False))


def _need(schema: pa.Schema, name: str, expected: str, fits: Callable[[pa.DataType], bool]) -> None:
    places = schema.get_all_field_indices(name)
    if len(places) != 1:
        received = "no such column" if not places else f"{len(places)} columns of this name"
        raise DataError(f"{name}: expected {expected}, received {received}")
    kind = schema.field(places[0]).type
    if not fits(kind):
        raise DataError(f"{name}: expected {expected}, received {kind}")


def _fits(field: Field, kind: pa.DataType) -> bool:
    if pa.types.is_null(kind):
        return True
    if field.kind in TEXTS:
        return is_text(kind)
    if not field.ragged:
        return is_number(kind, field.temporal)
    if field.kind == "strings":
        return is_list(kind) and not pa.types.is_map(kind) and is_text(kind.value_type)
    return _fits_map(kind, field.nested, field.temporal)


def _fits_map(kind: pa.DataType, nested: bool, temporal: bool) -> bool:
    pair = pair_types(kind)
    if pair is None or not is_text(pair[0]):
        return False
    if nested and not pa.types.is_null(pair[1]):
        return _fits_map(pair[1], False, temporal)
    return is_number(pair[1], temporal)


def _expected(field: Field) -> str:
    number = "instants (unix seconds or timestamps)" if field.temporal else "numbers"
    if field.kind in TEXTS:
        return f"{field.kind}, texts"
    if not field.ragged:
        return f"{field.kind}, {number}"
    if field.kind == "strings":
        return "strings, a list of texts"
    values = f"a map of text to {number}" if field.nested else number
    return f"{field.kind}, a map or list of (key, value) from text to {values}"
