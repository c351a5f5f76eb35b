"""The ensemble as steps over registers, and their compiled interpreter: X enters, prices leave in one call.

For a request's few rows numpy's call overhead is several times the price of the trees. `lower` writes down what
`app.inference.ensemble` computes as a list of steps; `ensemble.so` (`training/publishing/ensemble.c`) runs them over
blocks of rows and calls the libraries of trees itself. Bits are those of the definition: `app.inference.arithmetic`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.features.native import Library, address
from app.inference.arithmetic import slopes
from app.inference.compiled import CompiledModel
from app.inference.specification import GATED, Curve, EnsembleSpec

LIBRARY: Final = "ensemble.so"
INTERFACE: Final = 1  # PLTV_INTERFACE of ensemble.c
REFERENCE: Final = 0  # the register of the multiplier's references

Floats = NDArray[np.float64]


class Operation(IntEnum):
    """What a step does; the order is that of ensemble.c."""

    TREES = 0
    EXP = 1
    SIGMOID = 2
    LOG1P = 3
    EXPM1 = 4
    POWER = 5
    ADD = 6
    MULTIPLY = 7
    DIVIDE = 8
    POSITIVE = 9
    CURVE = 10
    STATE = 11
    CLIP = 12
    PROJECT = 13


class Program:
    """Steps, the constants and registers that they name, and the registers that are the answer.

    Parameters
    ----------
    widths : sequence of (int, int)
        Columns of X and outputs of each library.
    """

    def __init__(self, widths: Sequence[tuple[int, int]]) -> None:
        self.widths = tuple(widths)
        self.n_registers = REFERENCE + 1
        self.steps: list[tuple[int, ...]] = []
        self.constants: list[float] = []
        self.picks: list[int] = []
        self.outputs: list[int] = []

    def apply(self, operation: Operation, a: int, b: int = 0, constants: Sequence[float] = (), n: int = 0) -> int:
        """Add a step on registers `a` and `b`; the register that it fills."""
        self.steps.append((operation, self.n_registers, a, b, self._keep(constants), n))
        self.n_registers += 1
        return self.n_registers - 1

    def curve(self, a: int, curve: Curve) -> int:
        """Add a piecewise linear map."""
        knots = [*curve.x.tolist(), *curve.y.tolist(), *slopes(curve.x, curve.y).tolist()]
        return self.apply(Operation.CURVE, a, constants=knots, n=len(curve.x))

    def trees(self, library: int, inputs: Sequence[int] = ()) -> list[int]:
        """Add a library's call; the registers of its outputs. Without `inputs` it reads X."""
        outputs = self.widths[library][1]
        first, at = self.n_registers, len(self.picks)
        self.picks += inputs
        self.steps.append((Operation.TREES, first, library, 0, at, len(inputs)))
        self.n_registers += outputs
        return list(range(first, first + outputs))

    def project(self, registers: Sequence[int], weights: Sequence[float]) -> int:
        """Put registers into order, in place; the register that says which rows were out of order."""
        at = len(self.picks)
        self.picks += registers
        self.steps.append((Operation.PROJECT, self.n_registers, self._keep(weights), 0, at, len(registers)))
        self.n_registers += 1
        return self.n_registers - 1

    def _keep(self, constants: Sequence[float]) -> int:
        at = len(self.constants)
        self.constants += constants
        return at


def lower(spec: EnsembleSpec) -> Program:
    """Write an ensemble down.

    Returns
    -------
    Program
        Its outputs: p_buyer, one ltv a horizon, log_mean, multiplier, and 1 where the projection changed the row.
    """
    libraries = [spec.base] if spec.meta is None else [spec.base, spec.meta]
    program = Program([(library.n_features, len(library.outputs)) for library in libraries])
    raw = program.trees(0)
    p = program.apply(Operation.SIGMOID, raw[0])
    n = len(spec.horizons)
    conditional = [program.apply(Operation.EXP, score) for score in raw[1 : 1 + n]]
    ltv = [program.apply(Operation.MULTIPLY, p, c) for c in conditional]
    raw_meta: list[int] = []
    if spec.meta is not None:
        logs = [program.apply(Operation.LOG1P, c) for c in conditional]
        raw_meta = program.trees(1, [p, *logs, *ltv, *raw[1 + n :]])
        ltv = [
            program.apply(Operation.MULTIPLY, x, program.apply(Operation.EXP, score))
            for x, score in zip(ltv, raw_meta[:n], strict=True)
        ]
    log_mean = _log_mean(program, spec, raw, raw_meta, p)
    _answer(program, spec, p, ltv, log_mean)
    return program


def _log_mean(program: Program, spec: EnsembleSpec, raw: list[int], raw_meta: list[int], p: int) -> int:
    source, column = spec.log_mean_source
    score = raw[column] if source == "base" else raw_meta[column]
    if source == "base" and spec.base.outputs[column].link == GATED:
        score = program.apply(Operation.MULTIPLY, p, score)
    return program.apply(Operation.POSITIVE, score)


def _answer(program: Program, spec: EnsembleSpec, p: int, ltv: list[int], log_mean: int) -> None:
    """Calibration, projection and multiplier."""
    calibration, m = spec.calibration, spec.multiplier
    priced = []
    for h, (x, curve) in enumerate(zip(ltv, calibration.ltv, strict=True)):
        factor = program.curve(program.apply(Operation.LOG1P, x), curve)
        factor = program.apply(Operation.STATE, factor, constants=calibration.state[:, h].tolist())
        priced.append(program.apply(Operation.MULTIPLY, x, factor))
    corrected = program.project(priced, spec.weights.tolist())
    ratio = program.apply(Operation.DIVIDE, priced[spec.horizons.index(m.horizon)], REFERENCE)
    if m.alpha != 1.0:
        ratio = program.apply(Operation.POWER, ratio, constants=[m.alpha])
    multiplier = program.apply(Operation.CLIP, ratio, constants=[m.lo, m.hi])
    probability = program.curve(p, calibration.p_buyer)
    dollars = program.apply(Operation.EXPM1, program.curve(log_mean, calibration.log_mean))
    program.outputs = [probability, *priced, dollars, multiplier, corrected]


class EnsembleTwin:
    """A program with its compiled interpreter.

    Reentrant, and each call releases the interpreter lock.

    Parameters
    ----------
    path : Path
        `ensemble.so` of a bundle.
    program : Program
    models : sequence of CompiledModel
        The libraries of trees, in the program's order; kept loaded by the twin.

    Raises
    ------
    BundleCorrupt
        The file is no library.
    BundleIncompatible
        It was compiled for another version of this code.
    """

    def __init__(self, path: Path, program: Program, models: Sequence[CompiledModel]) -> None:
        self._library = Library(path)
        self._library.require_interface(INTERFACE, path)
        self._call: Any = self._library.dll.pltv_ensemble
        self._call.argtypes = (
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p
        )  # fmt: skip
        self._call.restype = ctypes.c_int
        self.n_features, self.n_outputs = program.widths[0][0], len(program.outputs)
        self._entries = [model.entry() for model in models]  # holds their libraries too
        libraries = [(e.address, *width) for e, width in zip(self._entries, program.widths, strict=True)]
        self._tables: list[NDArray[Any]] = [
            np.array(program.steps, dtype=np.int64),
            np.array([*program.constants, 0.0]),
            np.array([*program.picks, 0], dtype=np.int64),
            np.array(program.outputs, dtype=np.int64),
            np.array(libraries, dtype=np.int64),
        ]
        # A step's own columns fit where a library's input does: the projection takes its rows from there.
        inputs = [step[5] for step in program.steps if step[0] in (Operation.TREES, Operation.PROJECT)]
        sizes = (
            len(program.steps), program.n_registers, self.n_features, self.n_outputs, max(inputs) + 1,
            max(width[1] for width in program.widths),
        )  # fmt: skip
        self._program = np.array([*sizes, *(table.ctypes.data for table in self._tables)], dtype=np.int64)
        self._address = self._program.ctypes.data

    def run(self, X: Floats, state: NDArray[np.int64], reference: Floats) -> Floats:
        """Price rows.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features), float64, C-contiguous
        state : ndarray of shape (n_rows,), int64, C-contiguous
            History state.
        reference : ndarray of shape (n_rows,), float64, C-contiguous, US dollars

        Returns
        -------
        ndarray of shape (n_rows, n_outputs), float64
            The columns of `lower`.

        Raises
        ------
        ValueError
            On any other shape of X.
        MemoryError
        """
        n_rows = len(state)
        if X.shape != (n_rows, self.n_features) or len(reference) != n_rows:
            raise ValueError(f"X: expected ({n_rows}, {self.n_features}), received {X.shape}")
        out = np.empty((n_rows, self.n_outputs))
        if n_rows and (
            failed := self._call(self._address, address(X), address(state), address(reference), n_rows, address(out))
        ):
            raise MemoryError(f"ensemble: no memory for {n_rows} rows ({failed})")
        return out
