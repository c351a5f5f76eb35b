"""Tests of app.api.batch."""

from __future__ import annotations

import json

import pytest

from tests.api.served import IFA, TS, Served, bid, with_history


def test_each_request_is_answered_as_if_alone(service: Served) -> None:
    """In order, over several groups, a bad one with its problem."""
    requests = [
        bid(id=str(i), ext={"ts": TS, "deadline_ms": 60_000, "campaigns": [{"id": "c", "shelf": "toys"}] * (i % 5 + 1)})
        for i in range(35)
    ]
    requests[3] = bid(id="3", imp=None)
    requests[7] = bid(id="7", ext={"campaigns": [5]})
    requests[9] = bid(id="9", user=with_history())
    answer = service.post("/predict/batch", {"requests": requests})
    assert answer.status_code == 200
    responses = answer.json()["responses"]
    for i, (request, response) in enumerate(zip(requests, responses, strict=True)):
        if i == 3:
            assert (response["id"], response["status"], response["field"]) == ("3", 400, "imp")
        else:
            assert response == service.post("/predict", request).json()


def test_an_entry_that_is_no_json_spoils_no_other(service: Served) -> None:
    """The body is taken apart before it is parsed."""
    good = json.dumps(bid()).encode()
    body = b'{"requests":[' + good + b', {"id":}, "text", {"id":"' + b"x" * 24_000 + b'"},{"id":7},' + good + b"]}"
    responses = service.post("/predict/batch", body).json()["responses"]
    assert [response.get("status", 200) for response in responses] == [200, 400, 400, 413, 400, 200]
    assert [response["id"] for response in responses] == ["r1", None, None, None, None, "r1"]


def test_a_failure_of_ours_names_its_request(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails while it is read, and what fails while it is predicted: 500 under the request's own id."""

    def fail(*_: object) -> None:
        raise FloatingPointError("nothing of this is told")

    for place in ("app.api.openrtb.Reader.read", "app.serving.batching.Batcher._predict"):
        with monkeypatch.context() as patch:
            patch.setattr(place, fail)
            answer = service.post("/predict/batch", {"requests": [bid(id="a"), bid(id="b")]})
        told = [(response["id"], response["status"]) for response in answer.json()["responses"]]
        assert told == [("a", 500), ("b", 500)]
        assert "nothing of this" not in answer.text


def test_the_whole_must_be_a_list_of_requests(service: Served) -> None:
    """Not too long, not empty."""
    for body, field in (
        ({}, "requests"),
        ({"requests": []}, "requests"),
        ({"requests": [1] * 41}, "requests"),
        ([], None),
    ):
        answer = service.post("/predict/batch", body)
        assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert service.app.admission.in_flight == 0


def test_a_batch_reads_and_fills_the_cache(service: Served) -> None:
    """As single calls do."""
    device = {"ifa": IFA, "browser": "b"}
    service.post("/predict/batch", {"requests": [bid(device=device, user=with_history())]})
    (response,) = service.post("/predict/batch", {"requests": [bid(device=device)]}).json()["responses"]
    assert response["history"]["source"] == "near"
