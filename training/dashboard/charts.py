"""Interactive charts: lines of figures enter, Vega-Lite specifications with their data leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.dashboard.explanation import Part
from training.evaluation.pictures.canvas import COLOURS, GREY

BLUE, RED = COLOURS[0], COLOURS[1]
Spec = dict[str, Any]
Lines = Sequence[Mapping[str, Any]]


def waterfall(parts: Sequence[Part], unit: str) -> Spec:
    """A bar a contribution, between two ticks: the expectation on top, the row's raw score at the bottom."""
    kinds = {"raises": RED, "lowers": BLUE}
    values = [
        {
            "label": f"{part.label} = {part.value:.4g}" if part.value is not None else part.label,
            "start": part.start,
            "end": part.end,
            "phi": part.end if part.total else part.phi,
            "kind": "total" if part.total else "raises" if part.phi > 0.0 else "lowers",
        }
        for part in parts
    ]
    scale = {"zero": False, "padding": 40}  # room for the figures beside the bars
    x = {"field": "start", "type": "quantitative", "title": f"raw score, {unit}", "scale": scale}
    bars = {
        "mark": {"type": "bar", "height": {"band": 0.75}},
        "encoding": {
            "x": x,
            "x2": {"field": "end"},
            "color": _colour("kind", kinds, "effect"),
            "tooltip": _tooltip(label="nominal", phi="quantitative", end="quantitative"),
        },
        "transform": [{"filter": "datum.kind != 'total'"}],
    }
    ticks = {
        "mark": {"type": "tick", "thickness": 4, "color": GREY},
        "encoding": {"x": x},
        "transform": [{"filter": "datum.kind == 'total'"}],
    }
    texts = {
        "mark": {"type": "text", "align": "left", "dx": 4, "fontSize": 11},
        "encoding": {
            "x": {"field": "right", "type": "quantitative"},
            "text": {"field": "phi", "type": "quantitative", "format": "+.3f"},
        },
        "transform": [{"calculate": "max(datum.start, datum.end)", "as": "right"}],
    }
    order = [line["label"] for line in values]
    y = {"field": "label", "type": "nominal", "sort": order, "title": None, "axis": {"labelLimit": 420}}
    return {
        "data": {"values": values},
        "height": {"step": 24},
        "encoding": {"y": y},
        "layer": [bars, ticks, texts],
    }


def histograms(lines: Lines, title: str, names: Sequence[str]) -> Spec:
    """Steps of shares over a logarithmic axis, a colour for each of `names`."""
    colours = dict(zip(names, COLOURS, strict=False))
    return {
        "data": {"values": list(lines)},
        "height": 320,
        "mark": {"type": "area", "interpolate": "step-after", "line": True, "fillOpacity": 0.12},
        "encoding": {
            "x": _log("low", title),
            "y": {"field": "share", "type": "quantitative", "title": "share of rows", "axis": {"format": "%"},
                  "stack": None},
            "color": _colour("of", colours, None),
            "tooltip": _tooltip(of="nominal", low="quantitative", high="quantitative", rows="quantitative"),
        },
    }  # fmt: skip


def quantiles(lines: Lines, title: str) -> Spec:
    """A line a group: 10 to 90 % thin, 25 to 75 % thick, the median as a tick, the mean as a dot."""
    tooltip = _tooltip(
        group="nominal", rows="quantitative", mean="quantitative", q10="quantitative", q50="quantitative",
        q90="quantitative",
    )  # fmt: skip
    y = {"field": "group", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 260}}
    layers: list[Spec] = [
        _span("q10", "q90", 2, 0.45, title, tooltip),
        _span("q25", "q75", 9, 0.7, title, tooltip),
        {"mark": {"type": "tick", "color": "white", "thickness": 2}, "encoding": {"x": _log("q50", title)}},
        {
            "mark": {"type": "point", "filled": True, "size": 60, "color": RED},
            "encoding": {"x": _log("mean", title), "tooltip": tooltip},
        },
    ]
    return {"data": {"values": list(lines)}, "height": {"step": 24}, "encoding": {"y": y}, "layer": layers}


def scatter(lines: Lines, first: str, second: str) -> Spec:
    """Price by one bundle against price by the other, both logarithmic, with the line on which they agree."""
    colours = {"bought": RED, "did not buy": BLUE, "unknown": GREY}
    known = {line["bought"] for line in lines}
    dots = {
        "data": {"values": list(lines)},
        "mark": {"type": "circle", "size": 18, "opacity": 0.5},
        "encoding": {
            "x": _log("first", f"{first}, US dollars"),
            "y": _log("second", f"{second}, US dollars"),
            "color": _colour("bought", {k: v for k, v in colours.items() if k in known}, None),
            "tooltip": _tooltip(row_id="nominal", first="quantitative", second="quantitative"),
        },
    }
    prices = [line[side] for line in lines for side in ("first", "second")]
    ends = [{"first": end, "second": end} for end in (min(prices), max(prices))]
    diagonal = {
        "data": {"values": ends},
        "mark": {"type": "line", "color": GREY, "strokeDash": [4, 4]},
        "encoding": {"x": _log("first", f"{first}, US dollars"), "y": _log("second", f"{second}, US dollars")},
    }
    return {"height": 420, "layer": [diagonal, dots]}


def dumbbells(lines: Lines, first: str, second: str) -> Spec:
    """Mean price of each group by both bundles, joined by a line."""
    values = [
        {"group": f"{line['group']} ({line['rows']:,})", "bundle": name, "mean": line[side], "other": line[back]}
        for line in lines
        for name, side, back in ((first, "first", "second"), (second, "second", "first"))
    ]
    title = "mean price, US dollars per install"
    y = {"field": "group", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 260}}
    rule = {
        "mark": {"type": "rule", "color": GREY},
        "encoding": {"x": _log("mean", title), "x2": {"field": "other"}},
    }
    dots = {
        "mark": {"type": "point", "filled": True, "size": 80, "opacity": 0.9},
        "encoding": {
            "x": _log("mean", title),
            "color": _colour("bundle", {first: BLUE, second: RED}, None),
            "tooltip": _tooltip(group="nominal", bundle="nominal", mean="quantitative"),
        },
    }
    return {"data": {"values": values}, "height": {"step": 24}, "encoding": {"y": y}, "layer": [rule, dots]}


def shares(lines: Lines) -> Spec:
    """Share of all revenue that the dearest rows hold."""
    values = [{"dearest": f"{line['rows']:.0%}", "share": line["share"]} for line in lines]
    return {
        "data": {"values": values},
        "height": 320,
        "mark": {"type": "bar", "color": BLUE},
        "encoding": {
            "x": {"field": "dearest", "type": "ordinal", "sort": None, "title": "dearest rows",
                  "axis": {"labelAngle": 0}},
            "y": {"field": "share", "type": "quantitative", "title": "share of all expected revenue",
                  "axis": {"format": "%"}, "scale": {"domain": [0, 1]}},
            "tooltip": _tooltip(dearest="nominal", share="quantitative"),
        },
    }  # fmt: skip


def _span(low: str, high: str, size: int, opacity: float, title: str, tooltip: list[Spec]) -> Spec:
    return {
        "mark": {"type": "bar", "height": size, "color": BLUE, "opacity": opacity},
        "encoding": {"x": _log(low, title), "x2": {"field": high}, "tooltip": tooltip},
    }


def _log(field: str, title: str) -> Spec:
    axis = {"format": "~g", "labelOverlap": True}
    return {"field": field, "type": "quantitative", "title": title, "scale": {"type": "log"}, "axis": axis}


def _colour(field: str, colours: Mapping[str, str], title: str | None) -> Spec:
    scale = {"domain": [*colours], "range": [*colours.values()]}
    return {"field": field, "type": "nominal", "scale": scale, "legend": {"title": title, "orient": "top"}}


def _tooltip(**fields: str) -> list[Spec]:
    return [
        {"field": field, "type": kind, **({"format": ".4~g"} if kind == "quantitative" else {})}
        for field, kind in fields.items()
    ]
