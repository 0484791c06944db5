"""What a person sees who opens addresses of the registry in a browser."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.harness import Pricore, need

_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
_WIDTHS = (1280, 420)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS.split())
        yield browser
        browser.close()


def overflowing(page: Page) -> list[str]:
    """What lies beyond its column, as text; boxes that scroll by themselves count as themselves."""
    found: list[str] = page.evaluate(
        """() => {
            const over = [];
            for (const item of document.querySelectorAll('h1, h2, h3, p, li, pre, table, .wide, nav ul')) {
                const box = item.getBoundingClientRect(), holder = item.parentElement.getBoundingClientRect();
                const scrolls = item.closest('.wide, pre') !== null && !item.matches('.wide, pre');
                const edge = Math.min(holder.right, innerWidth) + 1;
                if (!scrolls && box.right > edge) over.push(item.innerText);
            }
            for (const link of document.querySelectorAll('nav li code')) {
                const end = Math.max(...Array.from(link.getClientRects(), box => box.right));
                if (end > link.closest('li').getBoundingClientRect().right + 1) over.push(link.innerText);
            }
            if (document.documentElement.scrollWidth > innerWidth) over.push('the page');
            return over;
        }"""
    )
    return found


@pytest.mark.parametrize("width", _WIDTHS)
@pytest.mark.parametrize("path", ["/api/docs", "/", "/org/acme"])
def test_a_page_fits_into_its_window(browser: Browser, pricore: Pricore, width: int, path: str) -> None:
    """Nothing runs over its column, on a laptop and on a phone."""
    with pricore.serving() as server:
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(server["url"] + path)
        assert overflowing(page) == []
        if shots := os.environ.get("PRICORE_SCREENSHOTS"):
            page.screenshot(path=f"{shots}/{path.strip('/').replace('/', '-') or 'root'}-{width}.png")
        page.close()


def test_a_person_is_told_what_this_is(browser: Browser, pricore: Pricore) -> None:
    """With lines to paste, the same for organizations that there are and aren't; scripts get JSON as ever."""
    with pricore.serving() as server:
        url = server["url"]
        page = browser.new_page()
        shown = {}
        for path in ("/", "/org/acme", "/org/acme/", "/org/nobody"):
            response = page.goto(url + path)
            assert response is not None
            assert response.status == 200
            shown[path] = page.inner_text("body")
        address = f"composer config repositories.acme composer {url}/org/acme\n"
        # without TLS, Composer takes nothing from it unless told so
        assert f"{address}composer config secure-http false\n" in shown["/org/acme"]
        assert shown["/org/acme"] == shown["/org/acme/"] == shown["/org/nobody"].replace("nobody", "acme")
        page.goto(url)
        page.click("text=REST API")
        assert page.url == f"{url}/api/docs"
        page.close()

        with urllib.request.urlopen(url) as answer:
            assert json.load(answer)["openapi"] == f"{url}/api/openapi.json"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{url}/org/acme")
        with caught.value as answer:
            assert (answer.status, list(json.load(answer))) == (404, ["message"])
