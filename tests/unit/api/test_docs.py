"""The documentation page and its files."""

import re

import httpx
import pytest

from tests.unit.api.conftest import OpenEdge

TYPES = {
    "/docs": "text/html; charset=utf-8",
    "/docs/start.js": "text/javascript; charset=utf-8",
    "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "/docs/swagger-ui.css": "text/css; charset=utf-8",
    "/docs/favicon-32x32.png": "image/png",
}


@pytest.mark.parametrize("path", TYPES)
async def test_docs_file_is_served_with_its_type(edge: httpx.AsyncClient, path: str) -> None:
    """With `nosniff`, browsers run a script and use a style sheet only under its own type."""
    read, probed = await edge.get(path), await edge.head(path)

    assert (read.status_code, read.headers["Content-Type"]) == (200, TYPES[path])
    assert (probed.status_code, probed.headers["Content-Length"]) == (200, str(len(read.content)))


async def test_docs_page_refers_to_served_files_only(edge: httpx.AsyncClient) -> None:
    page = (await edge.get("/docs")).text
    references = re.findall(r'(?:src|href)="([^"]*)"', page)

    assert {f"/{reference}" for reference in references} == TYPES.keys() - {"/docs"}
    assert not re.search(r"<script>|<style|style=|onload=", page)


@pytest.mark.parametrize("name", ["__init__.py", "swagger-ui.js", "..%2Fmain.py", "%2Fetc%2Fpasswd"])
async def test_docs_file_of_another_name_is_not_found(edge: httpx.AsyncClient, name: str) -> None:
    response = await edge.get(f"/docs/{name}")

    assert (response.status_code, response.json()["code"]) == (404, "route_not_found")


async def test_docs_files_when_switched_off_are_not_found(open_edge: OpenEdge) -> None:
    async with open_edge(docs=False) as edge:
        assert [(await edge.get(path)).status_code for path in TYPES] == [404] * len(TYPES)
