"""The description for people at `/docs`: Swagger UI with every file that it needs from this process.

FastAPI's own page loads its scripts from elsewhere, and is empty where there is no internet.
"""

from __future__ import annotations

from typing import Final

from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute, Mount, Route

PATH: Final = "/docs"
_FILES: Final = "docs/files"  # relative to the page, so that a proxy may serve it under any prefix


def routes(title: str) -> list[BaseRoute]:
    """The page and its files, which the package fastapi-offline brings along.

    Parameters
    ----------
    title : str
        The page's.
    """
    page = get_swagger_ui_html(
        openapi_url="./openapi.json",
        title=title,
        swagger_js_url=f"{_FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{_FILES}/swagger-ui.css",
        swagger_favicon_url=f"{_FILES}/favicon.png",
        swagger_ui_parameters={"validatorUrl": None},  # or it sends the document to a validator on the internet
    )

    async def show(_: Request) -> HTMLResponse:
        return page

    files = StaticFiles(packages=[("fastapi_offline", "static")])
    return [Mount(f"/{_FILES}", files), Route(PATH, show)]
