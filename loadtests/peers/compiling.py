"""The boosters of a directory, compiled by tl2cgen as its documentation does it: C, then the compiler of the system."""

from __future__ import annotations

import sys
from pathlib import Path

import tl2cgen
import treelite


def main(directory: str) -> None:
    """`NAME.so` beside `NAME.txt` for every line NAME of `names.txt`."""
    place = Path(directory)
    for name in (place / "names.txt").read_text().split():
        model = treelite.frontend.load_lightgbm_model(place / f"{name}.txt")
        tl2cgen.export_lib(model, toolchain="gcc", libpath=place / f"{name}.so", params={})


if __name__ == "__main__":
    main(*sys.argv[1:])
