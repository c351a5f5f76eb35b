"""Tests of app.api.batch."""

from __future__ import annotations

import json

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
            assert (response["status"], response["field"]) == (400, "imp")
        else:
            assert response == service.post("/predict", request).json()


def test_an_entry_that_is_no_json_spoils_no_other(service: Served) -> None:
    """The body is taken apart before it is parsed."""
    good = json.dumps(bid()).encode()
    body = b'{"requests":[' + good + b', {"id":}, "text", {"id":"' + b"x" * 24_000 + b'"},' + good + b"]}"
    responses = service.post("/predict/batch", body).json()["responses"]
    assert [response.get("status", 200) for response in responses] == [200, 400, 400, 413, 200]


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
