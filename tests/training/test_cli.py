"""`pltv`: every command does what it says; a mistake is one line on stderr and exit code 2, a bad bundle 1."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.inference.bundle import read_manifest, seal
from tests.training.conftest import Tiny
from training.cli import app
from training.evaluation import baselines

COMMANDS = (
    "generate",
    "train",
    "evaluate",
    "report",
    "ablate",
    "predict",
    "verify",
    "inspect",
    "push-features",
    "recompile",
    "promote",
    "retrain",
    "tune",
    "prune",
)


def run(capfd: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as caught:
        app([str(a) for a in args])
    out, err = capfd.readouterr()
    return int(caught.value.code or 0), out, err


def mistake(result: tuple[int, str, str], code: int = 2) -> str:
    """The one line of a mistake."""
    assert result[0] == code
    lines = [line for line in result[2].splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "Traceback" not in result[2]
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_complete(capfd: pytest.CaptureFixture[str], command: str) -> None:
    """Every option of every command is explained."""
    code, out, _ = run(capfd, command, "--help")
    assert code == 0
    options = [line.split() for line in out.splitlines() if line.lstrip().startswith("--")]
    assert options
    assert all(len(words) > 2 or words[0] == "--help" for words in options)


def test_pltv_alone_lists_its_commands(capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever types only the name asks what there is; so does `--help`. `--version` says which it is."""
    code, out, err = run(capfd)
    assert (code, err) == (0, "")
    listed = [
        line.split()[0]
        for line in out.partition("Commands:")[2].splitlines()
        if line.startswith("  ") and line[2] != " "
    ]
    assert set(COMMANDS) | {"cdnow", "benchmark-cdnow"} == set(listed)
    assert run(capfd, "--help")[:2] == (0, out)
    assert run(capfd, "--version") == (0, f"pltv {metadata.version('pltv')}\n", "")


@pytest.mark.parametrize(
    "args",
    [
        ("train", "--config", "config/smadex.yaml"),
        ("generate", "--rows", "none", "--out", "x"),
        ("generate", "--rows", "5", "--out", "x", "--start", "yesterday"),
        ("tarin",),
        ("train", "--config", "nowhere.yaml", "--data", "d", "--out", "m"),
        ("predict", "--bundle", "b", "--data", "d", "--out", "o.csv", "--all", "--objective", "msle"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, args: tuple[str, ...]
) -> None:
    """Missing and impossible options, unknown commands, missing files."""
    monkeypatch.chdir(tmp_path)
    mistake(run(capfd, *args))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_one_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, signal_number: signal.Signals
) -> None:
    """Ctrl-C, and the eviction of a job: no traceback, and the exit code of an interrupt."""

    def interrupted(_: Path) -> None:
        os.kill(os.getpid(), signal_number)
        for _tick in range(1000):  # another thread may take the signal, and this one hear of it later
            time.sleep(0.01)

    monkeypatch.setattr("app.inference.manifest.read_manifest", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in a shell's background ignores it
    try:
        assert mistake(run(capfd, "inspect", "--bundle", tmp_path), 130) == "error: interrupted"
    finally:
        signal.signal(signal.SIGINT, before)


def test_generate_then_predict(capfd: pytest.CaptureFixture[str], tiny: Tiny, tmp_path: Path) -> None:
    """Another seed is another day of the same market, which the bundle prices."""
    day, out = tmp_path / "later", tmp_path / "later.csv"
    code, said, _ = run(capfd, "generate", "--rows", 200, "--out", day, "--seed", 9, "--hours", 3)
    assert code == 0
    assert "200 rows in 3 hours" in said
    assert run(capfd, "predict", "--bundle", tiny.trained.bundle, "--data", day, "--out", out, "--all")[0] == 0
    assert len(out.read_text().splitlines()) == 201


def test_verify_and_inspect_a_sound_bundle(capfd: pytest.CaptureFixture[str], tiny: Tiny) -> None:
    """One says that it is sound, the other what is in it."""
    bundle = tiny.trained.bundle
    assert "sound" in run(capfd, "verify", "--bundle", bundle)[1]
    assert "base.so" in run(capfd, "inspect", "--bundle", bundle)[1]
    manifest = json.loads(run(capfd, "inspect", "--bundle", bundle, "--json")[1])
    assert manifest["data_window"]["train"]["rows"] > 0


def test_verify_refuses_a_changed_bundle_with_exit_code_1(
    capfd: pytest.CaptureFixture[str], tiny: Tiny, tmp_path: Path
) -> None:
    """A byte of any kind of file changed, or no bundle at all."""
    broken = tmp_path / "broken"
    shutil.copytree(tiny.trained.bundle, broken)
    path = broken / "ensemble.json"
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    assert "ensemble.json" in mistake(run(capfd, "verify", "--bundle", broken), code=1)
    mistake(run(capfd, "verify", "--bundle", tmp_path / "none"), code=1)


def test_evaluate_judges_on_the_hours_that_trained_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny: Tiny
) -> None:
    """The same rows and figures as in the bundle's own report, beside five baselines and the oracle."""
    monkeypatch.setitem(baselines.DEFAULTS, "num_boost_round", 4)
    args = ("evaluate", "--bundle", tiny.trained.bundle, "--data", tiny.data, "--replicates", 10, "--threads", 1)
    code, out, _ = run(capfd, *args, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["predictors"][0] == "pltv"
    assert found["rows"] == tiny.trained.manifest.data_window["validation"]["rows"]
    ours = found["amounts"]["pltv"]["d7"]["normalised_gini_oracle"]["value"]
    assert ours == tiny.trained.evaluation["amounts"]["pltv"]["d7"]["normalised_gini_oracle"]["value"]


def test_recompile_keeps_the_answers(capfd: pytest.CaptureFixture[str], tiny: Tiny, tmp_path: Path) -> None:
    """Libraries are built anew from the models' texts, and the golden rows still agree."""
    bundle = tmp_path / "tiny"
    shutil.copytree(tiny.trained.bundle, bundle)
    assert run(capfd, "recompile", "--bundle", bundle)[0] == 0
    assert (bundle / "golden.jsonl").read_bytes() == (tiny.trained.bundle / "golden.jsonl").read_bytes()
    assert run(capfd, "verify", "--bundle", bundle)[0] == 0


@contextmanager
def service(status: int, answer: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that keeps what it is sent: its URL and the calls."""
    calls: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            calls.append({"path": self.path, "token": self.headers.get("Authorization"), **body})
            reply = json.dumps(answer or {"stored": len(body["users"]), "older": 0}).encode()
            self.send_response(status)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", calls
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def identified(tiny: Tiny, tmp_path: Path) -> Path:
    """Twenty rows of one hour with a column of identities, every fourth missing."""
    source = sorted(tiny.data.glob("datetime=*"))[0]
    table = pq.read_table(next(source.glob("*.parquet")), partitioning=None).slice(0, 20)
    who = [None if i % 4 == 0 else f"user-{i}" for i in range(20)]
    folder = tmp_path / "users" / source.name
    folder.mkdir(parents=True)
    pq.write_table(table.append_column("who", pa.array(who, pa.string())), folder / "part-0.parquet")
    return tmp_path / "users"


def test_push_features_sends_histories_in_chunks(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny: Tiny, identified: Path
) -> None:
    """Rows with an identity, no request column among them, the hour as `as_of`, the token as bearer."""
    monkeypatch.setenv("PLTV_TOKEN", "secret")
    with service(200, {}) as (url, calls):
        args = ("--config", tiny.config, "--data", identified, "--id-column", "who", "--url", url, "--chunk", 6)
        code, out, _ = run(capfd, "push-features", *args)
    assert code == 0
    assert "15 histories stored" in out
    assert [len(call["users"]) for call in calls] == [6, 6, 3]
    assert {(call["path"], call["token"]) for call in calls} == {("/features", "Bearer secret")}
    user = calls[0]["users"][0]
    assert user["user_id"] == "user-1"
    assert user["history"]["as_of"] == 1759276800
    assert "country" not in user["history"]


def test_push_features_says_what_is_wrong(capfd: pytest.CaptureFixture[str], tiny: Tiny, identified: Path) -> None:
    """A missing column, a service that refuses, a service that is not there."""
    args = ("push-features", "--config", tiny.config, "--data", identified)
    assert "ifa" in mistake(run(capfd, *args, "--id-column", "ifa"))
    with service(503, {"detail": "Redis could not confirm"}) as (url, _):
        assert "Redis could not confirm" in mistake(run(capfd, *args, "--id-column", "who", "--url", url))
    assert "can not be reached" in mistake(run(capfd, *args, "--id-column", "who", "--url", url))


def test_report_is_a_page_about_the_bundle(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny: Tiny, tmp_path: Path
) -> None:
    """Page, text and figures of the held-out hours: drift and contributions are there, another bundle stands beside."""
    monkeypatch.setitem(baselines.DEFAULTS, "num_boost_round", 4)
    other, out = tmp_path / "other", tmp_path / "report"
    shutil.copytree(tiny.trained.bundle, other)
    seal(other, dataclasses.replace(read_manifest(other), name="other"))
    args = ("--bundle", tiny.trained.bundle, "--beside", other, "--data", tiny.data, "--out", out)
    code, said, _ = run(capfd, "report", *args, "--replicates", 10, "--threads", 1)
    assert code == 0
    assert said.split() == [str(out / name) for name in ("report.json", "report.md", "report.html")]
    found = json.loads((out / "report.json").read_text())
    assert found["predictors"][:2] == ["pltv", "other"]
    same = [v for v in found["verdicts"] if v["baseline"] == "other"]
    assert same
    assert {v["verdict"] for v in same} == {"indistinguishable"}
    assert set(found["explanations"]["shap"]) == {"gate", "d1", "d7", "d14", "log_mean"}
    assert len(found["drift"]["columns"]) > len(tiny.trained.manifest.feature_names)
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(list((out / "plots").iterdir()))
    assert "advertiser_bundle" in found["bias_by"]
    assert "history_state" in found["bias_by"]


def test_a_place_for_results_is_looked_at_first(capfd: pytest.CaptureFixture[str], tiny: Tiny, tmp_path: Path) -> None:
    """A file where a folder should be, a place below a file: named before anything is read, trained or judged."""
    file = tmp_path / "file"
    file.write_text("")
    bundle, data, config = tiny.trained.bundle, tiny.data, tiny.config
    tune = ("tune", "--config", config, "--data", data, "--processed", tmp_path / "processed")
    calls = (
        ("report", "--bundle", bundle, "--data", data, "--out"),
        ("ablate", "--config", config, "--data", data, "--out"),
        ("benchmark-cdnow", "--bundle", bundle, "--data", data, "--out"),
        (*tune, "--out"),
        ("tune", "--config", config, "--data", data, "--out", tmp_path / "study", "--processed"),
        ("train", "--config", config, "--data", data, "--out", tmp_path / "new", "--processed"),
    )
    for call in calls:
        assert f"{file}: expected a " in mistake(run(capfd, *call, file))
        assert f"{file / 'out'}: can not be written" in mistake(run(capfd, *call, file / "out"))
    model = (*tune, "--out", tmp_path / "study", "--model")
    assert f"{file}: expected a new place or a bundle" in mistake(run(capfd, *model, file))
    assert f"{file}: expected a folder" in mistake(run(capfd, *model, file / "out"))
    assert file.read_text() == ""


def test_report_refuses_what_it_can_not_compare(capfd: pytest.CaptureFixture[str], tiny: Tiny, tmp_path: Path) -> None:
    """A bundle beside itself is one line; one that is not there is a bad bundle."""
    args = ("report", "--bundle", tiny.trained.bundle, "--data", tiny.data, "--out", tmp_path / "r", "--beside")
    assert "different names" in mistake(run(capfd, *args, tiny.trained.bundle))
    mistake(run(capfd, *args, tmp_path / "none"), code=1)
    assert not (tmp_path / "r").exists()
