"""Services enter, each asked to answer from the promoted bundle; how many workers of each do so leaves."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Final

from app.errors import InputError

TIMEOUT_S: Final = 120.0
"""A service verifies, loads and warms the bundle in every worker before it answers."""


def reload_service(url: str, bundle: str, token: str | None) -> dict[str, Any]:
    """Ask a service for a bundle of its folder, `POST /models/reload`.

    Parameters
    ----------
    url : str
        Of the service, `http://127.0.0.1:8000`.
    bundle : str
        Name of the bundle.
    token : str or None
        The admin token.

    Returns
    -------
    dict
        The service's answer.

    Raises
    ------
    InputError
        It can not be reached, or refuses.
    """
    target = f"{url.rstrip('/')}/models/reload"
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        request = urllib.request.Request(target, json.dumps({"bundle": bundle}).encode(), headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            answer: dict[str, Any] = json.loads(response.read())
            return answer
    except urllib.error.HTTPError as error:
        raise InputError(f"the service answered {error.code}: {_detail(error)}", target) from error
    except (OSError, ValueError) as error:
        raise InputError(f"the service can not be reached ({error})", target) from error


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read()).get("detail", error.reason))
    except (ValueError, AttributeError):
        return str(error.reason)
