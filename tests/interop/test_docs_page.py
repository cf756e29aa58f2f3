"""The documentation page of a running service, in a real browser."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.backends import Backend
from tests.e2e.tenant import Tenant
from tests.interop.browser import Page, opened_page
from tests.service import running_service

#: The part of the page about `GET /user`.
LIST_USERS = "[id^=operations-Users-user][id$=list]"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def url(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """URL of an edge with the documentation switched on."""
    directory = tmp_path_factory.mktemp("docs")
    async with running_service(
        directory, await backend.vhost(), backend.database_url(), env={"AUTH_DOCS": "true"}
    ) as service:
        yield service.urls[0]


@pytest_asyncio.fixture
async def page(url: str, tmp_path: Path) -> AsyncIterator[Page]:
    """The documentation page, with all operations on it."""
    async with opened_page(tmp_path) as page:
        await page.send("Page.navigate", url=f"{url}/docs")
        await page.wait("document.querySelectorAll('.opblock').length > 20")
        yield page


async def test_docs_page_without_the_internet_runs_a_request(page: Page, url: str, tmp_path: Path) -> None:
    """Swagger UI lists the users of a tenant whose token was entered, and needs nothing but the edge."""
    login = f"ada-{uuid.uuid4().hex[:8]}"
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        tenant = await Tenant.register(http)
        assert (await tenant.create(login)).status_code == 200

    await page.click(".auth-wrapper .authorize")
    await page.enter("#auth-bearer-value", tenant.token)
    await page.click(".auth-btn-wrapper .authorize")
    await page.click(".auth-btn-wrapper .btn-done")
    await page.click(f"{LIST_USERS} .opblock-summary-control")
    await page.click(f"{LIST_USERS} .try-out__btn")
    await page.click(f"{LIST_USERS} .execute")
    answer = f"document.querySelector({f'{LIST_USERS} .live-responses-table .response'!r})"
    await page.wait(answer)
    (tmp_path / "docs.png").write_bytes(await page.screenshot())

    assert await page.evaluate(f"{answer}.querySelector('.response-col_status').innerText") == "200"
    assert login in await page.evaluate(f"{answer}.innerText")
    requested = {each.removeprefix(url) for each in page.requests if not each.startswith("data:")}
    assert requested >= {"/docs", "/docs/swagger-ui-bundle.js", "/openapi.json"}
    assert all(each.startswith("/") for each in requested)
    assert page.log == []


async def test_docs_page_with_an_injected_script_does_not_run_it(page: Page) -> None:
    inject = "const script = document.createElement('script'); script.textContent = 'window.injected = true';"
    await page.evaluate(f"{{ {inject} document.body.append(script); }}")

    assert await page.evaluate("window.injected") is None
    assert "Content Security Policy" in str(page.log)
