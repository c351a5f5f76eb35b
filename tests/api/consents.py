"""An encoder of consent strings, written from the specifications and apart from the decoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def text(bits: str) -> str:
    """Bits as base64url, padded with zeros to six."""
    bits += "0" * (-len(bits) % 6)
    return "".join(ALPHABET[int(bits[i : i + 6], 2)] for i in range(0, len(bits), 6))


def tcf(
    vendors: Iterable[int],
    purposes: Iterable[int],
    *,
    ranges: bool = False,
    restrictions: Sequence[tuple[int, int, Sequence[tuple[int, int]]]] = (),
    version: int = 2,
) -> str:
    """The core segment of a TC string; a restriction is (purpose, kind, vendor ranges)."""
    bits = f"{version:06b}" + "0" * 146
    bits += "".join("1" if p in set(purposes) else "0" for p in range(1, 25)) + "0" * 24 + "0" + "0" * 12
    bits += _ranges(vendors) if ranges else _field(vendors)
    bits += _field([])
    bits += f"{len(restrictions):012b}"
    for purpose, kind, spans in restrictions:
        bits += f"{purpose:06b}{kind:02b}{len(spans):012b}" + "".join(_span(*span) for span in spans)
    return text(bits + "0" * (-len(bits) % 8))


def gpp(sections: dict[int, str]) -> str:
    """A GPP string, every section announced by itself."""
    bits, last = f"{3:06b}{1:06b}{len(sections):012b}", 0
    for section in sorted(sections):
        bits += "0" + fibonacci(section - last)
        last = section
    return "~".join([text(bits), *(sections[section] for section in sorted(sections))])


def us(notices: int, opt_outs: Sequence[int], *, version: int = 1, gpc: bool | None = None) -> str:
    """A US section: notices given, the opt-outs, and the rest not applicable."""
    core = text(f"{version:06b}" + "01" * notices + "".join(f"{o:02b}" for o in opt_outs) + "00" * 16)
    return core if gpc is None else core + "." + text(f"01{int(gpc)}")


def fibonacci(number: int) -> str:
    """Fibonacci code of a positive number."""
    weights = [1, 2]
    while weights[-1] <= number:
        weights.append(weights[-1] + weights[-2])
    digits = ["0"] * len(weights)
    for place in range(len(weights) - 1, -1, -1):
        if weights[place] <= number:
            digits[place] = "1"
            number -= weights[place]
    return "".join(digits).rstrip("0") + "1"


def _field(vendors: Iterable[int]) -> str:
    chosen = set(vendors)
    highest = max(chosen, default=0)
    return f"{highest:016b}0" + "".join("1" if v in chosen else "0" for v in range(1, highest + 1))


def _ranges(vendors: Iterable[int]) -> str:
    chosen = sorted(set(vendors))
    return f"{max(chosen, default=0):016b}1{len(chosen):012b}" + "".join(_span(v, v) for v in chosen)


def _span(start: int, end: int) -> str:
    return f"0{start:016b}" if start == end else f"1{start:016b}{end:016b}"
