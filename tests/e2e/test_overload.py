"""More than can be done in time: late calls are answered from the prior, too many are refused, probes are answered."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.api.served import TS, bid
from tests.support.raw_http import Reply, at_once, get, post
from tests.support.service_process import ServiceProcess, samples, serving_process

PRIOR = {"d1": 1.0, "d7": 2.0, "d14": 3.0}  # what the shop's bundle says of everybody


def with_deadline(deadline_ms: int | None, tmax: int | None = None) -> dict[str, Any]:
    """A bid request that allows so much."""
    ext = {"ts": TS, "deadline_ms": deadline_ms, "campaigns": [{"id": "c1", "shelf": "toys"}, {"id": "c2"}]}
    return bid(ext={key: value for key, value in ext.items() if value is not None}, tmax=tmax)


def answers(replies: list[Reply | None], status: int) -> list[Reply]:
    """Those with that status."""
    return [reply for reply in replies if reply is not None and reply.status == status]


def test_what_is_late_is_answered_from_the_prior(shop_service: ServiceProcess) -> None:
    """Every campaign gets its cohort's numbers, the answer says why, and the metrics count it."""
    before = samples(shop_service.metrics(), "pltv_degraded_total").get('{reason="deadline"}', 0.0)
    for body in (with_deadline(0), with_deadline(0, tmax=100)):
        late = shop_service.predict(body)
        assert late["degraded"] == ["deadline"]
        assert [p["ltv"] for p in late["predictions"]] == [PRIOR, PRIOR]
        assert [p["p_buyer"] for p in late["predictions"]] == [0.1, 0.1]
    for body in (with_deadline(60_000), with_deadline(None), with_deadline(60_000, tmax=30_000)):
        assert shop_service.predict(body)["degraded"] == []
    text = shop_service.metrics()
    assert samples(text, "pltv_degraded_total")['{reason="deadline"}'] == before + 2.0
    assert samples(text, "pltv_deadline_slack_seconds_bucket")['{le="0.0"}'] >= 2.0


def test_a_bounded_number_is_taken_in(shop: Path) -> None:
    """Of 64 calls that wait at once 8 are answered, the rest is told when to come again; all of it is counted."""
    body = json.dumps(bid()).encode()
    with serving_process(shop, PLTV_MAX_IN_FLIGHT="8") as service:
        alone = service.predict(body)
        probes = [get("/health/live"), get("/health/ready"), get("/metrics")]
        replies = at_once(service.port, service.process.pid, [post("/predict", body)] * 64 + probes)
        good, refused = answers(replies[:64], 200), answers(replies[:64], 503)
        assert (len(good), len(refused)) == (8, 56)
        assert all(json.loads(reply.body) == alone for reply in good)
        for reply in refused:
            assert reply.headers["retry-after"] == "1"
            assert reply.headers["content-type"] == "application/problem+json"
            assert json.loads(reply.body)["type"] == "urn:pltv:problem:overloaded"
        assert len(answers(replies[64:], 200)) == len(probes)
        text = service.metrics()
        assert samples(text, "pltv_shed_total") == {'{reason="backlog"}': 56.0}
        found = samples(text, "pltv_requests_total")
        assert found['{route="/predict",status="200"}'] == 9.0
        assert found['{route="/predict",status="503"}'] == 56.0
        assert samples(text, "pltv_in_flight") == {"": 0.0}


def test_no_form_of_the_target_goes_round_the_bound(shop: Path) -> None:
    """A query, a host or an escape leads to the same call, and to the same refusal; another path does not."""
    body = json.dumps(bid()).encode()
    with serving_process(shop, PLTV_MAX_IN_FLIGHT="2") as service:
        for target in ("/predict?x", "/predict?", "http://pltv/predict", "http://pltv:80/predict?x=1", "/%70redict"):
            replies = at_once(service.port, service.process.pid, [post(target, body)] * 8)
            assert (len(answers(replies, 200)), len(answers(replies, 503))) == (2, 6), target
        others = [post("/predict/batch?/predict", b'{"requests":[]}')] * 8
        assert answers(at_once(service.port, service.process.pid, others), 503) == []
        assert samples(service.metrics(), "pltv_shed_total") == {'{reason="backlog"}': 30.0}


def test_refusals_are_the_same_with_and_without_the_parser(shop: Path) -> None:
    """Plain calls and calls whose heads say more, refused in one turn, get the same bytes; all are counted."""
    body = json.dumps(bid()).encode()
    forms = [post("/predict", body), post("/predict", body, Accept="*/*"), post("/predict", body, TE="trailers")]
    unusual = [post("/predict?x", body), post("/predict", body, X_Y_="1"), post("/predict", body, Upgrade="h2c")]
    with serving_process(shop, PLTV_MAX_IN_FLIGHT="1") as service:
        replies = at_once(service.port, service.process.pid, (forms + unusual) * 8)
        refused = answers(replies, 503)
        assert len(refused) == len(replies) - 1
        assert len({(reply.body, tuple(sorted(reply.headers.items()))) for reply in refused}) == 1
        text = service.metrics()
        assert samples(text, "pltv_shed_total") == {'{reason="backlog"}': float(len(refused))}
        assert samples(text, "pltv_requests_total")['{route="/predict",status="503"}'] == float(len(refused))


def test_a_turn_takes_in_what_the_deadline_allows(shop: Path) -> None:
    """Of 200 calls at once some are refused where answers are due in 3 ms, none where there is a minute."""
    body = json.dumps(bid()).encode()
    for deadline_ms, all_good in (("3", False), ("60000", True)):
        with serving_process(shop, PLTV_DEADLINE_MS=deadline_ms) as service:
            replies = at_once(service.port, service.process.pid, [post("/predict", body)] * 200)
            good, refused = answers(replies, 200), answers(replies, 503)
            assert len(good) + len(refused) == 200
            assert len(good) >= 8
            assert (refused == []) is all_good


def test_a_refused_connection_goes_on(shop: Path) -> None:
    """A body in pieces is passed over, and the next call on the same connection is answered."""
    body = json.dumps(bid()).encode()
    with serving_process(shop, PLTV_MAX_IN_FLIGHT="1") as service:
        pair = post("/predict", body) + post("/predict", body)  # the second waits for the first: in order, in a row
        for _ in range(3):
            replies = at_once(service.port, service.process.pid, [post("/predict", body), pair])
            assert all(reply is not None and reply.status in (200, 503) for reply in replies)
        # The second of the last pair, whose answer nobody reads, may still be under way; no place is lost for good.
        for _ in range(100):
            reply = service.post("/predict", body)
            if reply.status_code != 503:
                break
            time.sleep(0.05)
        assert reply.status_code == 200, reply.text
        assert reply.json()["degraded"] == []
        assert "Traceback" not in service.output
