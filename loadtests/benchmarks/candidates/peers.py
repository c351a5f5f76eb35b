"""What our requests a second are held beside: a FastAPI endpoint that only validates, and uvicorn that only echoes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from app.api.schemas import request_model
from app.features.spec import Declaration


class History(BaseModel):
    """As our answer's."""

    state: str
    source: str
    as_of: int | None


class Prediction(BaseModel):
    """As our answer's."""

    campaign: str
    status: str
    p_buyer: float
    ltv: dict[str, float]
    log_mean_d7: float
    multiplier: float


class Answer(BaseModel):
    """As ours."""

    id: str
    bundle: str
    currency: str
    per: str
    ttl_s: int
    history: History
    degraded: list[str]
    predictions: list[Prediction]


CONSTANT = Answer(
    id="1",
    bundle="constant",
    currency="USD",
    per="install",
    ttl_s=300,
    history=History(state="present", source="inline", as_of=None),
    degraded=[],
    predictions=[
        Prediction(
            campaign="1",
            status="ok",
            p_buyer=0.0123456789,
            ltv={"d1": 0.123456789, "d7": 0.23456789, "d14": 0.3456789},
            log_mean_d7=0.123456789,
            multiplier=1.0123456789,
        )
    ],
)


def fastapi_app(declaration: Declaration) -> FastAPI:
    """The endpoint as FastAPI's own tutorial writes it: our request model in, an answer model of our shape out."""
    app = FastAPI()

    async def predict(bid: Any) -> Answer:
        return CONSTANT

    # The body's model is made at run time, so its annotation is set rather than written.
    predict.__annotations__ = {"bid": request_model(declaration), "return": Answer}
    app.post("/predict")(predict)
    return app


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Read the body and send it back: what no Python service behind uvicorn can be faster than."""
    if scope["type"] != "http":
        return
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"".join(parts)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main(name: str, port: str, bundle: str) -> None:
    """Serve one of the two, by the settings that our own service gives uvicorn."""
    declaration = Declaration.from_json(json.loads((Path(bundle) / "declaration.json").read_bytes()))
    uvicorn.run(
        fastapi_app(declaration) if name == "fastapi" else echo,
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
