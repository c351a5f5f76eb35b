"""Tests that rules, alerts and dashboard speak of what the service really tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.telemetry import Telemetry
from tests.deploy.files import dashboard_expressions, rules

# Put on by Prometheus, and by the metrics of several workers.
ADDED = {"job", "instance", "pid"}
# Told by others than the service: Prometheus itself and redis_exporter.
OTHERS = {"up", "redis_evicted_keys_total", "redis_memory_used_bytes", "redis_memory_max_bytes"}
RECORDED = {rule["record"]: rule for rule in rules("recording.rules.yml")}
EXPRESSIONS = [
    *(rule["expr"] for rule in rules("recording.rules.yml")),
    *(rule["expr"] for rule in rules("alerts.rules.yml")),
    *dashboard_expressions(),
]


def told() -> dict[str, dict[str, set[str]]]:
    """Sample name → label → values, of a service that has seen everything once."""
    telemetry = Telemetry()
    telemetry.bundle({"name": "m", "created": "2025-10-01T00:00:00+00:00", "horizons": [1, 7, 14]})
    telemetry.request("/predict", 200, 0.001)
    telemetry.request("/predict/batch", 503, 0.001)
    for stage in ("parse", "cache", "features", "models", "encode"):
        telemetry.stage(stage, 0.001)
    telemetry.batch_rows(1)
    telemetry.answered(0.001, 0.001, 0.001, 0.001)
    telemetry.cache("near", "hit")
    for state in ("present", "new", "unavailable", "withheld"):
        telemetry.histories([(state, "none")], [1.0])
    for reason in ("deadline", "redis"):
        telemetry.degraded(reason)
    telemetry.shed("in_flight")
    telemetry.unseen("advertiser_bundle", 1)
    telemetry.predicted([[1.0, 2.0, 3.0]])
    telemetry.corrections(1)
    telemetry.reload("refused")
    telemetry.breaker(False)
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(telemetry.exposition()[0].decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


TOLD = told()


def selectors(node: Any) -> Iterator[Any]:
    """Every vector selector below a node of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
        return
    for part in ("lhs", "rhs", "expr", "param", "args", "vector_selector"):
        below = getattr(node, part, None)
        for child in below if isinstance(below, list) else [below] * (below is not None):
            yield from selectors(child)


def of(expression: str) -> list[Any]:
    """The vector selectors of an expression."""
    return list(selectors(promql_parser.parse(expression)))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_of_an_expression_exists(expression: str) -> None:
    """It parses, and each name is the service's own, a recorded one, or one of the few that others tell."""
    names = {selector.name for selector in of(expression)}
    assert names
    assert names <= TOLD.keys() | RECORDED.keys() | OTHERS


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_label_that_is_selected_exists(expression: str) -> None:
    """A matcher on the service's metrics names a label that they carry; one for equality, a value that occurs."""
    for selector in (s for s in of(expression) if s.name in TOLD):
        labels = TOLD[selector.name]
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels.keys() | ADDED, f"{selector.name}{{{matcher.name}}}"
            if matcher.op == promql_parser.MatchOp.Equal and matcher.name in labels.keys() - {"status"}:
                assert matcher.value in labels[matcher.name], f"{selector.name}{{{matcher.name}={matcher.value!r}}}"


def test_the_parser_of_these_tests_finds_all_selectors() -> None:
    """Through calls, ranges, aggregations, offsets and both sides of an operator."""
    left = 'a > bool 1 unless topk(scalar(g), sum by (x) (rate(b{c="d"}[5m] offset 1h)))'
    expression = f"{left} or -e / (max_over_time(f[1h:5m]))"
    assert sorted(selector.name for selector in of(expression)) == ["a", "b", "e", "f", "g"]


def test_every_recorded_series_is_read() -> None:
    """By an alert or by the dashboard: what nobody reads is not computed."""
    alerts = [rule["expr"] for rule in rules("alerts.rules.yml")]
    read = {selector.name for expression in [*dashboard_expressions(), *alerts] for selector in of(expression)}
    assert RECORDED.keys() - read == set()


def test_every_metric_of_the_service_is_read() -> None:
    """By a rule, an alert or the dashboard: no metric is told for nobody."""
    read = {s.name for expression in EXPRESSIONS for s in of(expression)}
    suffixes = ("", "_bucket", "_sum", "_count")
    families = {n.removesuffix(s) for n in TOLD if n.startswith("pltv_") for s in suffixes[1:] if n.endswith(s)}
    plain = {n for n in TOLD if n.startswith("pltv_") and not n.endswith(suffixes[1:])}
    assert [f for f in sorted(families | plain) if not read & {f + s for s in suffixes}] == []
