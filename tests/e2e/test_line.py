"""Generate → train → verify → serve: the market's bundle answers real bid requests."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.support.market import ROOT, Json, Market, command_line
from tests.support.service_process import ServiceProcess

REAL_REQUESTS = ROOT.parent / "shared" / "data" / "openrtb"
INVALID = "rtbkit__openrtb1_req.json"  # its impression has no `id`
TS = 1_759_881_600


def real_requests() -> list[Path]:
    """Recorded bid requests of exchanges and bidders, where they are at hand."""
    return sorted(path for path in REAL_REQUESTS.glob("*.json") if path.name != "MANIFEST.json")


def bid(request: Json, market: Market, n_campaigns: int = 3) -> Json:
    """The request with what a bidder adds: campaigns, a history, a time."""
    rows = [json.loads(body) for body in market.bodies()[:n_campaigns]]
    whole = copy.deepcopy(request)
    whole["ext"] = {**(whole.get("ext") or {}), "ts": TS}
    whole["ext"]["campaigns"] = [row["ext"]["campaigns"][0] for row in rows]
    user = whole.setdefault("user", {})
    user["ext"] = {**(user.get("ext") or {}), "history": rows[0]["user"]["ext"]["history"]}
    return whole


def check_answer(answer: Json, sent: Json) -> None:
    """Every campaign has finite answers in order, and nothing is missing."""
    assert answer["id"] == sent["id"]
    assert (answer["currency"], answer["per"], answer["degraded"]) == ("USD", "install", [])
    assert [p["campaign"] for p in answer["predictions"]] == [c["id"] for c in sent["ext"]["campaigns"]]
    for prediction in answer["predictions"]:
        assert prediction["status"] == "ok"
        d1, d7, d14 = (prediction["ltv"][day] for day in ("d1", "d7", "d14"))
        assert 0.0 <= d1 <= d7 <= d14
        numbers = [prediction["p_buyer"], d14, prediction["log_mean_d7"], prediction["multiplier"]]
        assert all(math.isfinite(number) and number >= 0.0 for number in numbers)
        assert prediction["p_buyer"] <= 1.0


def test_the_trained_bundle_is_sound_and_tells_how_good_it_is(trained: Market) -> None:
    """`pltv verify` says so with exit code 0, and the report compares it with baselines and the truth."""
    done = command_line("verify", "--bundle", trained.bundle)
    assert (done.returncode, done.stderr) == (0, "")
    assert "sound" in done.stdout
    report = json.loads((trained.bundle / "report.json").read_text())
    assert {"pltv", "constant", "tweedie", "log1p_l2", "oracle"} <= set(report["predictors"])
    assert report["order_violations"]["pltv"] == 0
    assert len(list((trained.bundle / "plots").glob("*.png"))) > 10


@pytest.mark.skipif(not real_requests(), reason=f"no recorded bid requests at {REAL_REQUESTS}")
def test_recorded_bid_requests_are_answered(trained: Market, service_process: ServiceProcess) -> None:
    """All of them but the one without `imp[].id`, whose problem document names that field."""
    states = set()
    for path in real_requests():
        sent = bid(json.loads(path.read_text()), trained)
        answer = service_process.post("/predict", sent)
        if path.name == INVALID:
            assert answer.status_code == 400
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["field"] == "imp.0.id"
            continue
        assert answer.status_code == 200, (path.name, answer.text)
        check_answer(answer.json(), sent)
        states.add(answer.json()["history"]["state"])
    assert states == {"present", "withheld"}  # some come without the consent that they need


@pytest.mark.skipif(not real_requests(), reason=f"no recorded bid requests at {REAL_REQUESTS}")
def test_one_bad_recorded_request_does_not_spoil_a_batch(trained: Market, service_process: ServiceProcess) -> None:
    """/predict/batch gives each what /predict gives it; a problem bears its request's name there."""
    paths = real_requests()
    sent = [bid(json.loads(path.read_text()), trained) for path in paths]
    alone: list[dict[str, Any]] = [service_process.post("/predict", one).json() for one in sent]
    together = service_process.predict_batch(sent)
    assert [one.get("status") for one in together] == [400 if p.name == INVALID else None for p in paths]
    assert together == [{"id": one["id"], **answer} for one, answer in zip(sent, alone, strict=True)]


def test_the_documented_example_is_answered(service_process: ServiceProcess) -> None:
    """docs/examples/predict.json works as it stands."""
    sent = json.loads((ROOT / "docs" / "examples" / "predict.json").read_text())
    answer = service_process.predict(sent)
    check_answer(answer, sent)
    assert answer["history"] == {"state": "present", "source": "inline", "as_of": 1_759_495_800}


def test_openapi_s_own_example_is_answered(service_process: ServiceProcess) -> None:
    """The worked example of /openapi.json is a good request for this bundle."""
    document = service_process.client.get("/openapi.json").json()
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    check_answer(service_process.predict(content["example"]), content["example"])


def test_sixty_four_campaigns_and_a_bad_one(trained: Market, service_process: ServiceProcess) -> None:
    """The most that a request may have; the one that is wrong is told apart, in its place."""
    sent = bid(json.loads(trained.bodies()[0]), trained, 64)
    check_answer(service_process.predict(sent), sent)
    sent["ext"]["campaigns"][5]["advertiser_category"] = 7
    predictions = service_process.predict(sent)["predictions"]
    assert [i for i, prediction in enumerate(predictions) if prediction["status"] != "ok"] == [5]
    assert predictions[5]["problem"]["status"] == 400
