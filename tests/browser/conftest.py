"""A browser and a running bridge for each file of browser tests; where there is no browser, a sentence instead."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.scene import Scene, scene

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}


# Both live as long as one file of tests: its worker may run others before and after it, which they would slow down.


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A running Chromium."""
    if CHROMIUM is None:
        pytest.skip("needs chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test installs it")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def bridge(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A bridge with a story to show; it needs no browser itself, but nobody else looks at it."""
    with scene(tmp_path_factory.mktemp("browser")) as shown:
        yield shown


@pytest.fixture(scope="session")
def shots(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that screenshots are written to: --screenshots, else one that pytest keeps for a while."""
    given = pytestconfig.getoption("--screenshots")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Look:
    """One page of one browser window, and what it complained of."""

    def __init__(self, page: Any, bridge: Scene) -> None:
        self.page, self._bridge = page, bridge
        self.complaints: list[str] = []
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def at(self, path: str) -> Any:
        """Load a page of the bridge."""
        answer = self.page.goto(self._bridge.url + path)
        assert answer is not None
        assert answer.status == 200, path
        return self.page

    def text(self) -> str:
        """What the page says."""
        return str(self.page.inner_text("main"))

    def press(self, name: str, *, within: str = "main") -> None:
        """Press the button of that name, and wait for the page that follows."""
        self.follow(self.button(name, within=within))

    def button(self, name: str, *, within: str = "main") -> Any:
        """The button of that name; its own click() is for one that leads to no other page."""
        return self.page.locator(within).get_by_role("button", name=name, exact=True).first

    def follow(self, leading: Any) -> None:
        """Click on what leads to another page, and wait until that has loaded.

        A click alone may return while the old page still stands: on a busy machine one would read that.
        """
        with self.page.expect_navigation():
            leading.click()


@pytest.fixture
def look(chromium: Any, bridge: Scene) -> Iterator[Look]:
    """A wide window."""
    context = chromium.new_context(viewport=WIDE, locale="en-GB", timezone_id="Europe/Berlin")
    yield Look(context.new_page(), bridge)
    context.close()
