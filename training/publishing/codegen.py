"""A treelite model enters, a shared library leaves: C by tl2cgen, our entry point beside it, a C compiler."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from io import StringIO
from pathlib import Path

import tl2cgen
import treelite

from app.errors import BundleError
from training.publishing.merging import Merged

BLOCK_ROWS = 64
NODES_PER_UNIT = 800  # generated code of about half an instruction cache (32 KB)
# Contraction would fuse a product and a sum into one rounding where the machine can (arm64), and change bits.
FLAGS = ("-O1", "-fPIC", "-std=gnu11", "-ffp-contract=off", "-fvisibility=hidden", "-w")
FEATURE_SOURCES = (
    "features.c", "objects.c", "bids.c", "marks.c", "histories.c", "entries.c", "packing.c", "packed.c", "wire.c"
)  # fmt: skip
ENSEMBLE_SOURCES = ("ensemble.c",)

_LEAF = re.compile(r"result\[(\d+)\] \+= ([^;]+);")

_NO_THRESHOLDS = """
#include "header.h"
#include "pltv.h"
static const double threshold[1];
static const int th_begin[N_FEATURES], th_len[N_FEATURES];
"""


def compiler() -> list[str]:
    """Return the C compiler's command: `$CC`, else cc, gcc or clang.

    Raises
    ------
    BundleError
        When there is none; the line says what to install.
    """
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise BundleError("no C compiler: expected cc, gcc or clang on PATH, or $CC; Debian: apt-get install gcc libc6-dev")


def n_units(model: treelite.Model) -> int:
    """Return the number of functions that keeps the code of each within an instruction cache."""
    nodes = sum(int(model.get_tree_accessor(i).get_field("num_nodes")[0]) for i in range(model.num_tree))
    return max(1, min(model.num_tree, round(nodes / NODES_PER_UNIT)))


def generate(merged: Merged, directory: Path, units: int) -> None:
    """Write the C of merged trees into `directory`, cut into `units` functions, and the entry point.

    `shares` must hold.
    """
    model = merged.model
    parameters = {"quantize": 1, "parallel_comp": units}
    with _quiet():
        tl2cgen.generate_c_code(model, dirpath=str(directory), params=parameters)
    if not (directory / "quantize.c").exists():  # tl2cgen writes none for trees without a single split
        (directory / "quantize.c").write_text(_NO_THRESHOLDS)
    parts = sorted(directory.glob("tu*.c"))
    calls = ", ".join(f"predict_unit{i}" for i in range(len(parts)))
    source, *copies = merged.targets or (0,)
    if merged.single:
        _add_in_float32(parts)
    (directory / "pltv.h").write_text(
        f"#define N_FEATURES {model.num_feature}\n#define BLOCK_ROWS {BLOCK_ROWS}\n#define UNITS {calls}\n"
        f"#define PARTING {_parting_unit(merged, units)}\n#define SOURCE {source}\n"
        f"#define N_COPIES {len(copies)}\n#define COPIES {', '.join(map(str, copies)) or 0}\n"
        f"#define STRICT {int(merged.strict)}\n"
        f"#define START {merged.start!r}\n#define DIVISOR {merged.divisor}.0\n"
    )
    (directory / "entry.c").write_text(resources.files(__package__).joinpath("entry.c").read_text())


def _add_in_float32(parts: Sequence[Path]) -> None:
    """Round every sum to float32: of two floats that is float32's own addition, since a double holds twice its digits.

    The generator's own float32 code will not do: it prints 8 digits where 9 are needed.
    """
    for part in parts:
        part.write_text(_LEAF.sub(r"result[\1] = (float)(result[\1] + (\2));", part.read_text()))


def shares(merged: Merged, units: int) -> bool:
    """Whether the functions of `generate` can keep shared trees apart from those after which targets part."""
    return merged.shared <= _parting_unit(merged, units) * _unit_size(merged, units)


def _unit_size(merged: Merged, units: int) -> int:
    return -(-merged.model.num_tree // units)  # as tl2cgen cuts


def _parting_unit(merged: Merged, units: int) -> int:
    """The function before which shared sums are copied: after the last where nothing follows."""
    size = _unit_size(merged, units)
    return -(-merged.parting // size) if merged.parting == merged.model.num_tree else merged.parting // size


def build(directory: Path, library: Path) -> None:
    """Compile the C files of `directory` into the shared library `library`, one core a file.

    Raises
    ------
    BundleError
        With the compiler's first line, when it fails or is missing.
    """
    command = compiler()
    sources = [*sorted(directory.glob("tu*.c")), directory / "entry.c"]
    objects = [source.with_suffix(".o") for source in sources]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [[*command, *FLAGS, "-c", str(c), "-o", str(o)] for c, o in zip(sources, objects, strict=True)]
        list(pool.map(_run, jobs))
    _run([*command, "-shared", "-o", str(library), *map(str, objects)])


def compile_features(library: Path) -> None:
    """Compile the feature plan's twin (the same C for every declaration) into the shared library `library`.

    Raises
    ------
    BundleError
        With the compiler's first line, when it fails or is missing.
    """
    # objects.c calls the interpreter that loads it: those names stay open until then.
    late = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    _compile_sources(FEATURE_SOURCES, library, late)


def compile_arithmetic(library: Path) -> None:
    """Compile the ensemble's interpreter (the same C for every ensemble) into the shared library `library`.

    Raises
    ------
    BundleError
        With the compiler's first line, when it fails or is missing.
    """
    _compile_sources(ENSEMBLE_SOURCES, library, [])


def _compile_sources(names: Sequence[str], library: Path, options: list[str]) -> None:
    with resources.as_file(resources.files(__package__)) as place:
        sources = [str(place / name) for name in names]
        _run([*compiler(), *FLAGS, "-O2", "-shared", *options, "-o", str(library), *sources, "-lm"])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BundleError(f"C compiler {command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        first = next((line for line in lines if "error" in line), lines[0])
        raise BundleError(f"C compiler {command[0]}: {first}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep tl2cgen's remarks (on the descriptor of stderr, and printed) from the terminal."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink, contextlib.redirect_stdout(StringIO()):
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
