"""A browser and one running bridge for all browser tests; where there is no browser, a sentence instead."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.browser.scene import Scene, scene

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}


_open = ExitStack()  # what runs for all tests of this folder, and for no other


@pytest.hookimpl(trylast=True)  # after the fixtures of the test itself
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After the last test of this folder browser and bridge end: they would slow down all that come after."""
    here = Path(__file__).parent
    if nextitem is None or here not in nextitem.path.parents:
        _open.close()


@pytest.fixture(scope="session")
def chromium() -> Any:
    """A running Chromium."""
    if CHROMIUM is None:
        pytest.skip("needs chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test installs it")
    driver = _open.enter_context(playwright.sync_playwright())
    browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
    _open.callback(browser.close)
    return browser


@pytest.fixture(scope="session")
def bridge(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A bridge with a story to show; it needs no browser itself, but nobody else looks at it."""
    return _open.enter_context(scene(tmp_path_factory.mktemp("browser")))


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
        self.page.locator(within).get_by_role("button", name=name, exact=True).first.click()
        self.page.wait_for_load_state()


@pytest.fixture
def look(chromium: Any, bridge: Scene) -> Iterator[Look]:
    """A wide window."""
    context = chromium.new_context(viewport=WIDE, locale="en-GB", timezone_id="Europe/Berlin")
    yield Look(context.new_page(), bridge)
    context.close()
