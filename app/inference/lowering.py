"""A specification enters, the program that computes it leaves: the operations of `app.inference.ensemble`, as steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from app.inference.forms import LINK_CAP, MOST
from app.inference.outputs import EXPERT, GATE, SEGMENT, head
from app.inference.program import REFERENCE, Operation, Program
from app.inference.specification import GATED, EnsembleSpec

Scores = Mapping[str, int]  # registers of the raw scores by name


def lower(spec: EnsembleSpec) -> Program:
    """Write an ensemble down.

    Returns
    -------
    Program
        Its outputs: p_buyer, one ltv a horizon, log_mean, multiplier, and 1 where the projection changed the row.
    """
    program = Program([(library.n_features, len(library.outputs)) for library in spec.libraries])
    scores = _raw(program, spec)
    p, undo = program.apply(Operation.SIGMOID, scores[GATE]), spec.recalibration
    if undo.p_buyer is not None:
        p = program.curve(p, undo.p_buyer)
    shares, conditional = _FORMS[spec.form](program, scores, spec)
    for h, curve in enumerate(undo.ltv):
        factor = program.curve(program.apply(Operation.LOG1P, conditional[h]), curve)
        conditional[h] = program.apply(Operation.MULTIPLY, conditional[h], factor)
    ltv = conditional
    if spec.strategy == "two_stage":
        ltv = [program.apply(Operation.MULTIPLY, p, c) for c in conditional]
    raw_meta: list[int] = []
    if spec.meta is not None:
        logs = [program.apply(Operation.LOG1P, c) for c in conditional]
        products = ltv if ltv is not conditional else [program.apply(Operation.MULTIPLY, p, c) for c in conditional]
        features = [p, *logs, *products, *shares, *(scores[name] for name in spec.extras)]
        raw_meta = program.trees(len(spec.base), features, reads_X=False)
        ltv = [
            program.apply(Operation.MULTIPLY, x, program.apply(Operation.EXP, score))
            for x, score in zip(ltv, raw_meta[: len(spec.horizons)], strict=True)
        ]
    log_mean = _log_mean(program, spec, list(scores.values()), raw_meta, p)
    _answer(program, spec, p, ltv, log_mean)
    return program


def _raw(program: Program, spec: EnsembleSpec) -> Scores:
    """Every library and dot product; the scores in the order of `spec.outputs`."""
    scores: dict[str, int] = {}
    for i, library in enumerate(spec.base):
        registers = program.trees(i, [scores[name] for name in library.inputs])
        scores |= {output.name: r for output, r in zip(library.outputs, registers, strict=True)}
    return scores | {linear.name: program.dot(linear) for linear in spec.linear}


def _exponentials(program: Program, scores: Scores, spec: EnsembleSpec) -> tuple[list[int], list[int]]:
    return [], [program.apply(Operation.EXP, scores[head(h)]) for h in spec.horizons]


def _smeared(program: Program, scores: Scores, spec: EnsembleSpec) -> tuple[list[int], list[int]]:
    positive = [program.apply(Operation.POSITIVE, scores[head(h)]) for h in spec.horizons]
    capped = [program.apply(Operation.CLIP, f, constants=[0.0, LINK_CAP]) for f in positive]
    return [], [program.apply(Operation.EXPM1, f) for f in capped]


def _increments(program: Program, scores: Scores, spec: EnsembleSpec) -> tuple[list[int], list[int]]:
    _, found = _exponentials(program, scores, spec)
    for h in range(1, len(found)):
        found[h] = program.apply(Operation.ADD, found[h - 1], found[h])
    return [], found


def _experts(program: Program, scores: Scores, spec: EnsembleSpec) -> tuple[list[int], list[int]]:
    shares = _softmax(program, [scores[f"{SEGMENT}{k}"] for k in range(spec.segments)])
    powers = [program.apply(Operation.EXP, scores[f"{EXPERT}{k}"]) for k in range(spec.segments)]
    total = _sum(program, [program.apply(Operation.MULTIPLY, *pair) for pair in zip(shares, powers, strict=True)])
    conditional = []
    for h in spec.horizons:
        mean = total
        if head(h) in scores:
            mean = program.apply(Operation.MULTIPLY, total, program.apply(Operation.EXP, scores[head(h)]))
            mean = program.apply(Operation.CLIP, mean, constants=[0.0, MOST])
        conditional.append(mean)
    return shares, conditional


_FORMS: Final[dict[str, Callable[[Program, Scores, EnsembleSpec], tuple[list[int], list[int]]]]] = {
    "exp": _exponentials,
    "smeared": _smeared,
    "increments": _increments,
    "experts": _experts,
}


def _softmax(program: Program, scores: list[int]) -> list[int]:
    most = scores[0]
    for one in scores[1:]:
        most = program.apply(Operation.MAXIMUM, most, one)
    powers = [program.apply(Operation.EXP, program.apply(Operation.SUBTRACT, one, most)) for one in scores]
    total = _sum(program, powers)
    return [program.apply(Operation.DIVIDE, one, total) for one in powers]


def _sum(program: Program, terms: list[int]) -> int:
    total = terms[0]
    for one in terms[1:]:
        total = program.apply(Operation.ADD, total, one)
    return total


def _log_mean(program: Program, spec: EnsembleSpec, raw: list[int], raw_meta: list[int], p: int) -> int:
    source, column = spec.log_mean_source
    score = raw[column] if source == "base" else raw_meta[column]
    if source == "base" and spec.outputs[column].link == GATED:
        score = program.apply(Operation.MULTIPLY, p, score)
    return program.apply(Operation.POSITIVE, score)


def _answer(program: Program, spec: EnsembleSpec, p: int, ltv: list[int], log_mean: int) -> None:
    """Calibration, projection and multiplier."""
    calibration, m = spec.calibration, spec.multiplier
    priced = []
    for h, (x, curve) in enumerate(zip(ltv, calibration.ltv, strict=True)):
        factor = program.curve(program.apply(Operation.LOG1P, x), curve)
        factor = program.apply(Operation.STATE, factor, constants=calibration.state[:, h].tolist())
        priced.append(program.apply(Operation.MULTIPLY, x, factor))
    corrected = program.project(priced, spec.weights.tolist())
    ratio = program.apply(Operation.DIVIDE, priced[spec.horizons.index(m.horizon)], REFERENCE)
    if m.alpha != 1.0:
        ratio = program.apply(Operation.POWER, ratio, constants=[m.alpha])
    multiplier = program.apply(Operation.CLIP, ratio, constants=[m.lo, m.hi])
    probability = program.curve(p, calibration.p_buyer)
    dollars = program.apply(Operation.EXPM1, program.curve(log_mean, calibration.log_mean))
    program.outputs = [probability, *priced, dollars, multiplier, corrected]
