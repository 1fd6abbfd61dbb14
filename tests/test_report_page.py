"""The page of a report in headless Chromium: it opens, sorts, answers the pointer, fits a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokenzip import report

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

HOSTILE = '</script><img src=x onerror="console.error(1)">'
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    clips = [rng.integers(0, 4 << i, (20 + i, 4, 6)).astype(np.uint16) for i in range(3)]
    found = report.of_arrays(clips, names=["b", HOSTILE, "a"], source=HOSTILE)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(report.page(found), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page(browser: Any, file: Path, scheme: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 850}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    assert page.locator("h1").inner_text() == HOSTILE
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(20, 23, 26)") == (scheme == "dark")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != background

    names = lambda: page.locator("#clips tbody td:first-child").all_inner_texts()  # noqa: E731
    page.click("#clips th button >> text=clip")
    assert names() == [HOSTILE, "a", "b"]
    page.click("#clips th button >> text=clip")
    assert names() == ["b", "a", HOSTILE]
    assert page.locator("#clips th").first.get_attribute("aria-sort") == "descending"

    page.hover("#positions canvas")
    assert "bits" in page.inner_text("#positions .read")
    page.hover("#time svg")
    assert page.inner_text("#time .read").startswith("frame ")
    page.select_option("#time select", "2")
    page.hover("#film canvas >> nth=0")
    assert "row" in page.inner_text("#film .read")
    assert said == [] and [url for url in asked if not url.startswith(("file:", "data:"))] == []
    page.close()
