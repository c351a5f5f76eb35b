"""Tests of deploy/grafana."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from tests.deploy.files import DEPLOY, dashboard, documents, panels


def test_every_panel_asks_the_chosen_source() -> None:
    """No source of some installation is written into it: all go through the variable."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    variables = {variable["name"]: variable for variable in dashboard()["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["instance"]["datasource"] == source
    for panel in panels():
        assert panel["datasource"] == source
        assert all(target["datasource"] == source for target in panel["targets"])


def test_panels_are_told_apart() -> None:
    """Numbers and titles are unique, every panel has a unit, and letters of targets are unique within a panel."""
    shown = dashboard()["panels"]
    assert len({panel["id"] for panel in shown}) == len(shown)
    assert len({panel["title"] for panel in shown}) == len(shown)
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters) > 0


def test_panels_lie_on_the_grid_without_overlap() -> None:
    """24 columns; no panel covers another."""
    places = [panel["gridPos"] for panel in dashboard()["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not any(_overlap(a, b) for a, b in combinations(places, 2))


def _overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    across = a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"]
    return across and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


def test_the_rows_follow_a_request() -> None:
    """From traffic to processes."""
    rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert rows == [
        "Traffic",
        "Latency by stage",
        "Shed and degraded",
        "Histories and cache",
        "Predictions",
        "Bundle",
        "Processes",
    ]


def test_it_is_provisioned_where_compose_puts_it() -> None:
    """The provider looks where the dashboard is mounted, and the source is the Prometheus of the compose file."""
    (compose,) = documents(DEPLOY / "compose" / "compose.yaml")
    mounted: list[str] = compose["services"]["grafana"]["volumes"]
    (providers,) = documents(DEPLOY / "grafana" / "provisioning" / "dashboards" / "pltv.yml")
    folder = providers["providers"][0]["options"]["path"]
    assert any(volume.split(":")[1] == f"{folder}/pltv.json" for volume in mounted)
    (sources,) = documents(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml")
    source: dict[str, Any] = sources["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose["services"]
