"""`pltv` called in this process: the same entry, without the second that a new interpreter costs."""

from __future__ import annotations

import pytest

from training.cli import app


def pltv(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run a command; exit code, stdout, stderr."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as left:
        app([str(argument) for argument in arguments], prog_name="pltv")
    out, err = capfd.readouterr()
    code = left.value.code
    assert isinstance(code, int)
    return code, out, err


def refusal(capfd: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """The one line that a command refuses with; the exit code must be `code`."""
    received, out, err = pltv(capfd, *arguments)
    assert (received, out) == (code, ""), err
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert "Traceback" not in line
    return line.removeprefix("error: ")
