"""Tests of training.releasing.promotion and duel, and of `pltv promote`: `models/current` moves to a winner alone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.errors import DataError
from tests.training.conftest import Tiny
from tests.training.test_cli import mistake, run
from training.data.synthetic import generate
from training.locking import exclusive
from training.progress import Silent
from training.releasing.duel import Metric, Terms, ruling
from training.releasing.promotion import current, promote

TERMS = Terms(replicates=60)


def use(models: Path, name: str) -> None:
    """Put a bundle in use as scripts/serve.sh does."""
    (models / "current").symlink_to(name)


def test_the_first_bundle_is_in_use_without_a_question(models: Path) -> None:
    """Nothing to beat, nothing to judge on; a link that leads nowhere counts as nothing."""
    assert current(models) is None
    assert promote(models / "stump", None, models, TERMS, Silent()).promoted
    assert (models / "current").readlink() == Path("stump")
    shutil.rmtree(models / "stump")
    assert current(models) is None
    assert promote(models / "good", None, models, TERMS, Silent()).promoted
    assert current(models) == "good"


def test_a_winner_moves_the_link(models: Path, later: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """More than a stump's knowledge wins; one line says by how much, and the log keeps it."""
    use(models, "stump")
    args = ("promote", "--bundle", models / "good", "--data", later, "--models", models, "--replicates", 60)
    code, out, _ = run(capfd, *args)
    assert code == 0
    assert out.startswith("good is in use now in place of stump: msle of log_mean is better by ")
    assert len(out.splitlines()) == 1
    assert current(models) == "good"
    (line,) = (models / "promotions.jsonl").read_text().splitlines()
    assert {k: v for k, v in json.loads(line).items() if k != "at"} == {
        "promoted": True,
        "challenger": "good",
        "champion": "stump",
        "why": out.strip(),
    }
    assert run(capfd, *args)[1] == "good is in use already\n"


def test_a_loser_changes_nothing(models: Path, later: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Worse, or the same: exit code 1, one line, the link as it was; `--force` moves it all the same."""
    use(models, "good")
    shutil.copytree(models / "good", models / "same")
    common = ("--data", later, "--models", models, "--replicates", 60)
    code, out, _ = run(capfd, "promote", "--bundle", models / "stump", *common)
    assert (code, len(out.splitlines())) == (1, 1)
    assert out.startswith("stump is not promoted, good stays in use: msle of log_mean is worse by ")
    code, out, _ = run(capfd, "promote", "--bundle", models / "same", *common)
    assert code == 1
    assert "differs within chance, by 0 [0, 0]" in out
    assert current(models) == "good"
    assert not (models / "promotions.jsonl").exists()
    code, out, _ = run(capfd, "promote", "--bundle", models / "stump", "--models", models, "--force")
    assert (code, current(models)) == (0, "stump")
    assert "forced" in out


def test_what_can_not_be_decided_is_one_line(
    models: Path, tiny: Tiny, later: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No rows, rows that a bundle learned from, a bundle elsewhere, a damaged one in use, a directory for a link."""
    use(models, "stump")
    args = ("promote", "--bundle", models / "good", "--models", models)
    assert "data: expected rows" in mistake(run(capfd, *args))
    early = tmp_path / "early"
    generate(60, early, seed=1, hours=3)
    assert "until which a bundle learned" in mistake(run(capfd, *args, "--data", early))
    outside = ("promote", "--bundle", tiny.trained.bundle, "--models", models)
    assert "bundle: expected a bundle in" in mistake(run(capfd, *outside, "--data", later))
    with (models / "stump" / "ensemble.json").open("a") as file:
        file.write(" ")
    assert "--force moves on without" in mistake(run(capfd, *args, "--data", tiny.data), code=1)
    mistake(run(capfd, "promote", "--bundle", models / "stump", "--models", models, "--force"), code=1)
    assert current(models) == "stump"
    (models / "current").unlink()
    (models / "current").mkdir()
    assert "expected a symbolic link" in mistake(run(capfd, *args, "--force"))


def test_two_do_not_promote_at_once(models: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever comes second is told so, and the lock ends with its holder."""
    with exclusive(models / ".promotion.lock", "promote"):
        said = mistake(run(capfd, "promote", "--bundle", models / "good", "--models", models))
    assert "alone" in said
    assert promote(models / "good", None, models, TERMS, Silent()).promoted


def test_the_link_is_never_absent(models: Path) -> None:
    """A name that an interrupted move left is no obstacle, and nothing but the link remains."""
    use(models, "good")
    (models / f".current-{os.getpid()}").symlink_to("nowhere")
    assert promote(models / "stump", None, models, TERMS, Silent(), force=True).promoted
    assert sorted(p.name for p in models.iterdir()) == [
        ".promotion.lock",
        "current",
        "good",
        "promotions.jsonl",
        "stump",
    ]


def evaluation(**words: str) -> dict[str, Any]:
    """Verdicts of a challenger, the better ones by 0.2 [0.1, 0.3]."""
    where = {"log_loss": "p_buyer", "msle": "log_mean", "normalised_gini": "d7", "bias_realised": "d7"}
    sign = {"better": 1.0, "worse": -1.0}
    verdicts = [
        {
            "where": where[metric],
            "metric": metric,
            "verdict": word,
            "improvement": {
                "value": sign.get(word, 0.5) * 0.2,
                "low": -0.1 if word == "indistinguishable" else min(sign[word] * 0.1, sign[word] * 0.3),
                "high": 0.3 if word == "indistinguishable" else max(sign[word] * 0.1, sign[word] * 0.3),
            },
        }
        for metric, word in words.items()
    ]
    return {"log_horizon": 7, "bias_against": "realised, capped", "rows": 1000, "verdicts": verdicts}


@pytest.mark.parametrize(
    ("words", "metric", "won", "why"),
    [
        ({"msle": "better", "log_loss": "better"}, "msle", True, "msle of log_mean is better by 0.2 [0.1, 0.3]"),
        ({"msle": "worse"}, "msle", False, "msle of log_mean is worse by 0.2 [0.1, 0.3]"),
        (
            {"msle": "indistinguishable", "log_loss": "better"},
            "msle",
            False,
            "msle of log_mean differs within chance, by 0.1 [-0.1, 0.3]",
        ),
        (
            {"normalised_gini": "better", "log_loss": "worse", "bias_realised": "worse"},
            "gini",
            False,
            "normalised_gini of d7 is better by 0.2 [0.1, 0.3], "
            "but log_loss of p_buyer and bias_realised of d7 are worse",
        ),
        ({"bias_realised": "better"}, "bias", True, "bias_realised of d7 is better by 0.2 [0.1, 0.3]"),
    ],
)
def test_a_win_is_an_interval_without_zero_and_nothing_lost(
    words: dict[str, str], metric: Metric, won: bool, why: str
) -> None:
    """Better on what decides and worse on nothing that counts; chance is no win."""
    assert ruling(evaluation(**words), metric) == (won, why)


def test_an_undefined_figure_decides_nothing() -> None:
    """Rows without what the figure needs are refused, not taken for a draw."""
    with pytest.raises(DataError, match="log_loss of p_buyer is undefined on 1,000 rows"):
        ruling(evaluation(msle="better"), "log_loss")
