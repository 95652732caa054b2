"""A board as a picture for the README: `make picture BOARD=emodb`.

The report's own page in headless Chromium, with the columns that a reader needs first. Nothing is drawn here, so the
picture says what the page says; a board whose numbers are not those of its bundles is refused, as by the report.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from pathlib import Path

from sertbench import report, report_gather
from sertbench.errors import ConfigError, SertbenchError

COLUMNS = (
    "rank", "model", "uar_pooled_mean", "interval", "uar_pooled_seed_sd", "wa", "macro_f1", "worst_speaker_uar",
    "n_params",
)  # fmt: skip
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
WIDTH = 960  #         CSS pixels
SCALES = (2, 1.5, 1)  # pixels of the picture per CSS pixel: the first that keeps it small enough
MOST = 300_000  #      bytes
COLOURS = 128
PREPARE = """
document.documentElement.dataset.theme = "light";
const board = document.querySelectorAll(".board")[0], kept = arguments[0];
const style = document.createElement("style");
const heads = [...board.querySelectorAll("thead th")];
style.textContent = heads.map((th, k) => kept.includes(th.dataset.col) ? "" :
  `.results tr:not(.group) > :nth-child(${k + 1}) { display: none; }`).join("") +
  ".results { min-width: 0; } .board { padding: 8px 16px; } .board, .large tbody tr { content-visibility: visible; }" +
  ".board h3 { margin-top: 0; } .board a { color: inherit; text-decoration: none; } .about a { display: none; }" +
  ".results thead button { text-decoration: none !important; }";
document.head.append(style);
board.querySelectorAll(".group th").forEach((cell) => { cell.colSpan = kept.length; });
board.querySelectorAll(".large").forEach((table) => table.classList.remove("large"));
document.body.replaceChildren(board);
"""


def main(arguments: list[str] | None = None) -> int:
    """Write the picture and say how large it is."""
    parser = argparse.ArgumentParser(prog="picture.py", description="A board as a picture for the README.")
    parser.add_argument("board", help="corpus whose first table is shown")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--leaderboards", type=Path, default=Path("leaderboards"))
    parser.add_argument("--out", type=Path, default=Path("docs/assets/board.png"))
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            view = report_gather.gather(options.leaderboards, options.runs, [options.board])
            page = report.write(view, Path(folder) / "report")
            data = small(page, Path(folder) / "profile")
    except SertbenchError as error:
        print(f"picture.py: error: {error}", file=sys.stderr)
        return 2
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(data)
    print(f"{options.out}: {len(data) / 1000:.0f} kB")
    return 0


def small(page: Path, profile: Path) -> bytes:
    """The picture of a page's first board as PNG, at the largest scale that keeps it below MOST."""
    for scale in SCALES:
        data = reduced(photograph(page, profile, scale))
        if len(data) <= MOST:
            return data
    raise ConfigError(f"the picture would be {len(data) / 1000:.0f} kB, more than {MOST / 1000:.0f}: too many rows")


def photograph(page: Path, profile: Path, scale: float) -> bytes:
    """The first board of a report's index.html in Chromium, as PNG. ConfigError without Chromium or Selenium."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        chromium = None
    if chromium is None or driver is None:
        raise ConfigError("Chromium and Selenium are needed: `make picture` installs them")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        metrics = {"width": WIDTH, "height": 800, "deviceScaleFactor": scale, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(page.as_uri())
        browser.execute_script(PREPARE, COLUMNS)
        height = browser.execute_script("return Math.ceil(document.body.firstChild.getBoundingClientRect().height)")
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**metrics, "height": height})
        data: bytes = browser.find_element("css selector", ".board").screenshot_as_png
    finally:
        browser.quit()
    return data


def reduced(png: bytes) -> bytes:
    """The same picture with fewer colours."""
    from PIL import Image

    out = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
