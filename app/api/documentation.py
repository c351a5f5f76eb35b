"""The OpenAPI document. A declaration enters; paths, schemas, worked examples and problems leave.

The endpoints are plain ASGI, so nothing derives this from their signatures; a test calls each documented path.
"""

from __future__ import annotations

from typing import Any, Final

from app.api import examples
from app.api.schemas import campaign_model, request_model, user_model
from app.features.spec import Declaration, HistoryState

_PREFIX: Final = "#/components/schemas/"
_STRING: Final = {"type": "string"}
_NUMBER: Final = {"type": "number"}
_INTEGER: Final = {"type": "integer"}
_OPEN_OR_TOKEN: Final[list[dict[str, list[str]]]] = [{}, {"token": []}]  # a token where PLTV_API_TOKENS names any
_PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457. It names the field, what was expected and what kind of thing came; never a value.",
    "required": ["type", "title", "status", "detail", "field"],
    "properties": {
        "id": {"type": ["string", "null"], "description": "In a batch: the request's own."},
        "type": _STRING,
        "title": _STRING,
        "status": _INTEGER,
        "detail": _STRING,
        "field": {"type": ["string", "null"]},
    },
    "example": {
        "type": "urn:pltv:problem:invalid",
        "title": "The request is invalid",
        "status": 400,
        "detail": "expected a value, received nothing",
        "field": "imp.0.id",
    },
}
_TOLD: Final = {
    400: "Invalid; `field` names where.",
    401: "A token is missing or wrong.",
    409: "The bundle was refused; the live one stays.",
    413: "The body, or what it inflates to, is too large.",
    415: "A Content-Type other than JSON, or a Content-Encoding other than gzip.",
    500: "Unexpected; the log has the place.",
    503: "Overloaded, not ready, or Redis did not confirm; `Retry-After` says when to come back.",
}


def paths(declaration: Declaration) -> dict[str, Any]:
    """The `paths` of the OpenAPI document."""
    request, user = examples.bid_request(declaration), _user(declaration)
    erased = {"users": [{"ifa": user["ifa"]}]}
    stored = {"stored": 1, "older": 0, "statuses": ["stored"]}
    unit = declaration.label_unit
    return {
        "/predict": {
            "post": _operation(
                "Expected revenue of each campaign",
                f"An OpenRTB 2.6 BidRequest with the bidder's facts in `ext`. **Every number is per {unit}, not per "
                f"impression: multiply by your own P({unit} | impression).**",
                body=(_ref("BidRequest"), request),
                answer=(_ref("Answer"), examples.answer(declaration)),
                told=(400, 401, 413, 415, 500, 503),
            )
        },
        "/predict/batch": {
            "post": _operation(
                "Many bid requests at once",
                "Answers or problem documents, in order, each with the `id` of its request: one bad request does not "
                "spoil the others.",
                body=(_list_of("requests", "BidRequest"), {"requests": [request]}),
                answer=(_list_of("responses", "Answer", "Problem"), {"responses": [examples.answer(declaration)]}),
                told=(400, 401, 413, 415, 500, 503),
            )
        },
        "/features": {
            "post": _operation(
                "Store histories",
                "The newest `as_of` wins. A history with nothing but `as_of` says that the user is known and new.",
                body=(_list_of("users", "StoredUser"), {"users": [user]}),
                answer=(_object(stored=_INTEGER, older=_INTEGER, statuses=_array(_STRING)), stored),
                told=(400, 401, 413, 415, 500, 503),
            )
        },
        "/features/delete": {
            "post": _operation(
                "Erase users",
                "Erases from every tier; 503 where that can not be confirmed.",
                body=(_object(users=_array(_object(ifa=_STRING, user_id=_STRING))), erased),
                answer=(_object(deleted=_INTEGER), {"deleted": 1}),
                told=(400, 401, 413, 415, 500, 503),
            )
        },
        "/models": {
            "get": _operation(
                "The live bundle",
                "Its manifest.",
                answer=(_object(live={"type": "object"}), None),
                told=(401, 500, 503),
            )
        },
        "/models/reload": {
            "post": _operation(
                "Swap the bundle",
                "Needs the admin token. Without a body the configured path is looked at again. All workers swap "
                "together, once each has verified and warmed the bundle; `workers` counts those that answer from it, "
                "`pending` those that have not said so yet.",
                body=(_object(bundle=_STRING), {"bundle": "smadex-2025-10-03"}),
                answer=(
                    _object(outcome=_STRING, bundle=_STRING, previous=_STRING, workers=_INTEGER, pending=_INTEGER),
                    {
                        "outcome": "swapped",
                        "bundle": "smadex-2025-10-03",
                        "previous": "smadex-2025-10-02",
                        "workers": 4,
                        "pending": 0,
                    },
                ),
                told=(400, 401, 409, 413, 415, 500, 503),
                optional=True,
                security=[{"token": []}],
            )
        },
        "/health/live": {"get": _operation("Liveness", "The process answers.", answer=(_object(status=_STRING), None))},
        "/health/ready": {
            "get": _operation(
                "Readiness", "A bundle is live.", answer=(_object(status=_STRING, bundle=_STRING), None), told=(503,)
            )
        },
        "/metrics": {
            "get": {
                "summary": "Metrics",
                "description": "Prometheus' text format; any worker answers for all.",
                "responses": {"200": {"description": "Metrics.", "content": {"text/plain": {"schema": _STRING}}}},
            }
        },
    }


def schemas(declaration: Declaration) -> dict[str, Any]:
    """The `components.schemas` of the OpenAPI document."""
    found: dict[str, Any] = {}
    template = _PREFIX + "{model}"
    for name, schema in (
        ("BidRequest", request_model(declaration).model_json_schema(ref_template=template)),
        ("StoredUser", user_model(declaration).json_schema(ref_template=template)),
        ("Campaign", campaign_model(declaration).json_schema(ref_template=template)),
    ):
        for part, definition in {**schema.pop("$defs", {}), name: schema}.items():
            if found.setdefault(part, definition) != definition:
                raise ValueError(f"{part}: two different schemas of one name")
    # The model leaves the entries unread, so that one that is wrong does not spoil the others.
    found["Ext"]["properties"]["campaigns"]["items"] = _ref("Campaign")
    return {**found, "Answer": _answer(declaration), "Problem": _PROBLEM}


def _answer(declaration: Declaration) -> dict[str, Any]:
    targets = declaration.targets
    prediction = _object(
        campaign={"type": ["string", "null"]},
        status={"enum": ["ok", "invalid"]},
        p_buyer=_NUMBER,
        ltv=_object(**{f"d{horizon}": _NUMBER for horizon in targets.horizons}),
        **{f"log_mean_d{targets.log_mean}": _NUMBER},
        multiplier=_NUMBER,
        problem={"$ref": _PREFIX + "Problem"},
    )
    prediction["required"] = ["campaign", "status"]
    return _object(
        id=_STRING,
        bundle=_STRING,
        currency=_STRING,
        per=_STRING,
        ttl_s=_INTEGER,
        history=_object(
            state={"enum": [state.label for state in HistoryState]},
            source={"enum": ["inline", "near", "redis", "none"]},
            as_of={"type": ["integer", "null"]},
        ),
        degraded=_array(_STRING),
        predictions=_array(prediction),
    )


def _user(declaration: Declaration) -> dict[str, Any]:
    return {"ifa": "3f2b6c1e-8d4a-4f0e-9b7c-5a1d2e3f4a5b", "history": examples.history(declaration)}


def _operation(
    summary: str,
    description: str,
    *,
    body: tuple[dict[str, Any], Any] | None = None,
    answer: tuple[dict[str, Any], Any],
    told: tuple[int, ...] = (),
    optional: bool = False,
    security: list[dict[str, list[str]]] = _OPEN_OR_TOKEN,
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "description": description,
        "responses": {"200": {"description": "Done.", "content": _json(*answer)}},
    }
    if body is not None:
        operation["requestBody"] = {"required": not optional, "content": _json(*body)}
    if 401 in told:
        operation["security"] = security
    for status in told:
        content = {"application/problem+json": {"schema": _ref("Problem")}}
        operation["responses"][str(status)] = {"description": _TOLD[status], "content": content}
    return operation


def _json(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"application/json": content}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _PREFIX + name}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _list_of(field: str, *names: str) -> dict[str, Any]:
    items = _ref(names[0]) if len(names) == 1 else {"anyOf": [_ref(name) for name in names]}
    return {**_object(**{field: _array(items)}), "required": [field]}
