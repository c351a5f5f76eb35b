"""Tests of app.api.pages."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from tests.api.served import Served

HOST = "pltv"  # whom the tests' client asks


class Links(HTMLParser):
    """Whatever a page makes a browser load, or leads to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note addresses."""
        self.found += [value for name, value in attrs if name in ("src", "href", "action", "srcset") and value]


def addresses(text: str) -> list[str]:
    """Of the tags, and of what the page's script and style are given."""
    given = re.findall(r"\burl: *'([^']*)'|@import +[\"']([^\"']*)|url\(([^)]*)\)", text)
    return [*Links(text).found, *("".join(parts) for parts in given)]


def test_nothing_in_the_page_points_elsewhere(service: Served) -> None:
    """Scripts, style, icon and document are the service's own, and it has each of them."""
    page = service.get("/docs")
    found = addresses(page.text)
    assert [one for one in found if urlsplit(one).scheme or urlsplit(one).netloc] == []
    assert "//" not in page.text.replace("<!-- `SwaggerUIBundle` is now available on the page -->", "")
    assert len(found) == 4
    for one in found:
        answer = service.get(urlsplit(urljoin(f"http://{HOST}/docs", one)).path)
        assert (answer.status_code, bool(answer.content)) == (200, True), one


def test_the_style_loads_nothing_from_elsewhere(service: Served) -> None:
    """Its pictures stand in it."""
    style = service.get("/docs/files/swagger-ui.css").text
    loaded = re.findall(r"url\(\"?([^:\"')]*)", style)
    assert set(loaded) <= {"data"}
    assert "@import" not in style


def test_the_document_is_sent_to_no_validator(service: Served) -> None:
    """Swagger UI asks one on the internet unless it is told not to."""
    assert '"validatorUrl": null' in service.get("/docs").text


def test_the_page_stands_under_a_prefix_too(service: Served) -> None:
    """Every address is relative to the page: whatever a proxy puts before it precedes them all."""
    for one in addresses(service.get("/docs").text):
        assert urljoin("http://pltv/bidder/docs", one).startswith("http://pltv/bidder/")


def test_there_is_no_second_description(service: Served) -> None:
    """ReDoc, which FastAPI would load from elsewhere, is not served; nor are files that are none of the page's."""
    assert service.get("/redoc").status_code == 404
    assert service.get("/docs/oauth2-redirect").status_code == 404
    missing = service.get("/docs/files/../core.py")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
