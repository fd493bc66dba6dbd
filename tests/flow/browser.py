"""Chromium from PATH, driven headless, for tests of what a doctor sees. Nothing is fetched from outside."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)
WIDTHS = (1366, 768, 375)


def chromium() -> str:
    """Path of the browser; raises when there is none, because a test that cannot look must not pass."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        raise RuntimeError("no Chromium on PATH")
    return found


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """One browser, closed in the end."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass  # playwright hangs an attribute on the owner of a handler, so no slots
class Seat:
    """A doctor's place at one browser window. complaints: what console and network reported as wrong."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "about:")):
            self.complaints.append(f"outside: {request.url}")

    def go(self, path: str) -> Page:
        """Open an address below the gateway."""
        self.page.goto(self.url + path)
        return self.page

    def sign_in(self, token: str) -> None:
        """Through the form, as a person would."""
        self.go("/ui/signin")
        if not self.page.locator("input[name=token]").is_visible():
            self.page.get_by_text("用访问令牌登录").click()
        self.page.locator("input[name=token]").fill(token)
        self.page.locator("main button").first.click()
        self.page.wait_for_url("**/ui/")

    def text(self) -> str:
        """What the page says, blanks joined."""
        return " ".join(self.page.locator("body").inner_text().split())

    def overflow(self, width: int) -> int:
        """By how many pixels the page is wider than the window at this width; 0 = no sideways scroll."""
        self.page.set_viewport_size({"width": width, "height": 768})
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return int(wide)


@contextlib.contextmanager
def seat(browser: Browser, url: str, *, script: bool = True) -> Iterator[Seat]:
    """A fresh window without cookies; `script` False switches JavaScript off."""
    context = browser.new_context(
        viewport={"width": 1366, "height": 768}, java_script_enabled=script, locale="zh-CN", timezone_id="Asia/Shanghai"
    )
    try:
        yield Seat(context.new_page(), url)
    finally:
        context.close()
