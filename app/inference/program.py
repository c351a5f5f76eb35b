"""The ensemble as steps over registers, and their compiled interpreter: X enters, prices leave in one call.

For a request's few rows numpy's call overhead is several times the price of the trees. `app.inference.lowering` writes
down what `app.inference.ensemble` computes as a list of steps; `ensemble.so` (`training/publishing/ensemble.c`) runs
them over blocks of rows and calls the libraries of trees itself. Bits are those of the definition:
`app.inference.arithmetic`.
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
from app.inference.curves import Curve
from app.inference.outputs import LinearSpec

LIBRARY: Final = "ensemble.so"
INTERFACE: Final = 2  # PLTV_INTERFACE of ensemble.c
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
    SUBTRACT = 14
    MAXIMUM = 15
    DOT = 16


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

    def trees(self, library: int, inputs: Sequence[int] = (), *, reads_X: bool = True) -> list[int]:
        """Add a library's call; the registers of its outputs. It reads X, then the registers of `inputs`."""
        outputs = self.widths[library][1]
        first, at = self.n_registers, len(self.picks)
        self.picks += inputs
        self.steps.append((Operation.TREES, first, library, int(reads_X), at, len(inputs)))
        self.n_registers += outputs
        return list(range(first, first + outputs))

    def dot(self, linear: LinearSpec) -> int:
        """Add a dot product over columns of X; the register that it fills."""
        constants, at, n = self._keep(linear.constants), len(self.picks), len(linear.columns)
        self.steps.append((Operation.DOT, self.n_registers, constants, 0, at, n))
        self.picks += linear.columns
        self.n_registers += 1
        return self.n_registers - 1

    def project(self, registers: Sequence[int], weights: Sequence[float]) -> int:
        """Put registers into order, in place; the register that says which rows were out of order."""
        at = len(self.picks)
        self.picks += registers
        self.steps.append((Operation.PROJECT, self.n_registers, self._keep(weights), 0, at, len(registers)))
        self.n_registers += 1
        return self.n_registers - 1

    @property
    def widest_input(self) -> int:
        """Columns that a library's input made of registers, or a row of the projection, takes at most."""
        width, rows = self.widths[0][0], (Operation.TREES, Operation.PROJECT)
        return max(step[3] * width + step[5] for step in self.steps if step[0] in rows and step[5])

    def _keep(self, constants: Sequence[float]) -> int:
        at = len(self.constants)
        self.constants += constants
        return at


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
        sizes = (
            len(program.steps), program.n_registers, self.n_features, self.n_outputs, program.widest_input,
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
            The columns of `app.inference.lowering.lower`.

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
