"""The documentation and the README's picture in a real Chromium. `make test-browser` installs what this needs."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sertbench.cli import main

webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed: make test-browser")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
CHECKOUT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium is not installed: make test-browser"),
]
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("material", reason="make docs installs it")
    pytest.importorskip("mkdocstrings_handlers.python", reason="make docs installs it")
    folder = tmp_path_factory.mktemp("built") / "site"
    command = [sys.executable, "-P", "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_opens_without_complaint_and_is_no_wider_than_the_window(browser, site: Path, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for path in sorted(site.rglob("*.html")):
        if path.name != "404.html":  # its links are absolute
            browser.get(path.as_uri())
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width, path.name
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    asked = [entry["message"] for entry in browser.get_log("performance") if '"http' in entry["message"]]
    assert not [message for message in asked if "Network.requestWillBeSent" in message and '"url":"http' in message]


def test_the_search_works_from_the_file_system(browser, site: Path) -> None:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.set_window_size(1280, 900)
    browser.get((site / "index.html").as_uri())
    browser.implicitly_wait(20)
    browser.find_element("css selector", "input.md-search__input").click()
    browser.find_element("css selector", "input.md-search__input").send_keys("jackknife")
    found = browser.find_element("css selector", ".md-search-result__link")
    assert "statistics" in found.get_attribute("href")


def test_a_board_becomes_a_picture(tmp_path: Path, made_bundle) -> None:
    image = pytest.importorskip("PIL.Image")
    for k in range(40):
        made_bundle(tmp_path / "runs", f"network_{k}", "one", 0.5 + k / 100, k, seeds=1)
    folders = ["--runs", str(tmp_path / "runs"), "--leaderboards", str(tmp_path / "boards")]
    assert main(["leaderboard", *folders]) == 0
    command = [sys.executable, "-P", str(CHECKOUT / "docs/picture.py"), "one", *folders, "--out"]
    done = subprocess.run([*command, str(tmp_path / "b.png")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "b.png").read_bytes()
    assert len(data) <= 300_000
    picture = image.open(io.BytesIO(data))
    assert picture.width >= 960
    assert picture.height > picture.width / 2, "all rows are on it"
    assert picture.convert("RGB").getpixel((2, 2)) == (255, 255, 255), "light"
