"""The report in a real Chromium: sorting, filtering, theme, pages, downloads, accessibility, size.

`make test-browser` installs Chromium, its driver, Selenium and axe-core and runs these. Without them they are skipped.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sertbench import board_files, board_rows, bundle, files, leaderboard, report, report_gather
from sertbench.audit import Audit, Tally
from sertbench.audit_checks import Finding
from sertbench.bundles import Bundles
from sertbench.cli import main

webdriver = pytest.importorskip("selenium.webdriver", reason="Selenium is not installed: make test-browser")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
AXE = Path(sys.prefix) / "axe" / "package" / "axe.min.js"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium is not installed: make test-browser"),
]
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--force-prefers-reduced-motion",
)  # fmt: skip
SCRIPT, IMAGE = "<script>window.harm=1</script>", "<img src=x onerror='window.harm=2'>"
TABLES, ROWS = 20, 200
COVERED = """return [...document.querySelectorAll('.top a, .top button')].filter(e => {
    const r = e.getBoundingClientRect(), corners = [[r.left + 3, r.top + 3], [r.right - 3, r.bottom - 3]]
    return corners.some(([x, y]) => !e.contains(document.elementFromPoint(x, y)))
}).map(e => e.textContent)"""  # links of a page's head that are cut off or lie under others


@pytest.fixture(scope="module")
def folder(tmp_path_factory, made_bundle, stressed) -> Path:
    """A report with ties, diagnostics, an optimism meter, tuning, and names that would do harm."""
    root = tmp_path_factory.mktemp("made")
    runs = root / "runs"
    cheats = {"random_split": 95.5, "test_epoch": 91.0, "speaker_norm": 90.5, "oracle_gap": 1.5}
    made_bundle(runs, "strong", "one", 0.9, 1, optimism=cheats)
    stressed(made_bundle(runs, "equal", "one", 0.9, 2, trials=3, changes={"model": {"family": "LSTM"}}), IMAGE)
    made_bundle(runs, SCRIPT, "one", 0.2, 3, classes=("angry", "happy", "sad"))
    made_bundle(runs, "guess", "one", 0.0, 4, changes={"model": {"diagnostic": True, "n_parameters": 0}})
    made_bundle(runs, IMAGE, IMAGE, 0.6, 5, classes=(IMAGE, "b"), changes={"corpus": {"synthetic": True}})
    for k in range(8):
        for m, name in enumerate(("strong", "equal", "weak")):
            changes = {"model": {"n_parameters": 0}} if (k, m) == (0, 0) else {}  # none are counted
            made_bundle(runs, name, f"c{k}", 0.9 - 0.3 * m, 10 * k + m, seeds=1, changes=changes)
    for k, (train, test) in enumerate((("one", "one"), ("one", IMAGE), (IMAGE, "one"), (IMAGE, IMAGE))):
        names = list(dict.fromkeys((train, test)))
        mapping = {n: {"label_set": SCRIPT, "classes": {"angry": [IMAGE]}, "left_out": ["x"]} for n in names}
        kind = "within" if train == test else "cross"
        cross = {"kind": kind, "train": [train], "test": [test], "mapping": mapping}
        for model in ("strong", SCRIPT):
            made_bundle(runs / "cross", model, "+".join(names), 0.9 - k / 5, 40 + k, kind="cross", cross=cross,
                        folder=f"c{k}-{len(model)}", prefix="" if train == test else f"{test}/")  # fmt: skip
    arguments = ["--runs", str(runs), "--leaderboards", str(root / "boards")]
    assert main(["leaderboard", *arguments]) == 0
    found = (
        Finding("error", "missing", SCRIPT, IMAGE, (SCRIPT, "long_name" * 40)),
        Finding("note", "rate", "44.1 kHz"),
    )
    counts = (Tally("class", IMAGE, 3, 4), *(Tally("speaker", f"s{k}", k, k) for k in range(30)))
    audit = Audit("one", "", "3class", found, counts, ((0.5, 3), (1, 60)), {"duration": 0.2}, 63, 0.1, 3.4, 0.1, 0.2)
    files.write_text(root / "boards/audits/one.json", json.dumps(audit.as_json()))
    assert main(["report", *arguments, "--out", str(root / "report")]) == 0
    return root / "report"


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    downloads = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.downloads = downloads
    driver.set_window_size(1280, 900)
    yield driver
    driver.quit()


@pytest.fixture(autouse=True)
def nothing_of_a_test_before(request) -> None:
    """Logs are read per test."""
    driver = request.getfixturevalue("browser")
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get_log("performance")


def open_page(browser, path: Path) -> None:
    browser.get(path.as_uri())


def complaints(browser) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser")]


def requests(browser) -> set[str]:
    """The addresses of everything that the pages asked for."""
    events = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    return {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}


def shown(browser, selector: str) -> list[str]:
    """Texts of the visible elements."""
    script = (
        "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => e.textContent)"
    )
    found: list[str] = browser.execute_script(script, selector)
    return found


def column(browser, board: str, key: str) -> list[str]:
    """The cells of a column of a board's main part, in the order that is shown."""
    script = """
      const table = document.querySelector(`[data-corpus="${arguments[0]}"] table`);
      const at = [...table.tHead.rows[0].cells].findIndex(cell => cell.dataset.col === arguments[1]);
      return [...table.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[at].textContent)"""
    found: list[str] = browser.execute_script(script, board, key)
    return found


def test_every_page_opens_without_complaint_request_or_harm(browser, folder: Path) -> None:
    for path in sorted(folder.rglob("*.html")):
        open_page(browser, path)
        assert browser.execute_script("return window.harm") is None
        width = browser.execute_script("return document.documentElement.scrollWidth - innerWidth")
        assert width <= 0, f"{path.name} is wider than the window"
    assert complaints(browser) == []
    asked = {url for url in requests(browser) if not url.startswith(("data:", "about:", "chrome:"))}
    assert asked
    assert all(url.startswith(folder.as_uri()) for url in asked), asked


def test_sorting_goes_up_down_and_back(browser, folder: Path) -> None:
    open_page(browser, folder / "index.html")
    before = column(browser, "one", "predict_rtf")
    head = browser.find_element("css selector", '[data-corpus="one"] th[data-col="predict_rtf"]')
    button = head.find_element("tag name", "button")
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert column(browser, "one", "predict_rtf") == sorted(before, key=float, reverse=True)
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(browser, "one", "predict_rtf") == sorted(before, key=float)
    button.click()
    assert head.get_attribute("aria-sort") is None
    assert column(browser, "one", "predict_rtf") == before
    assert complaints(browser) == []


def test_the_cross_corpus_page_sorts_by_text_and_number_and_its_bundles_download(browser, folder: Path) -> None:
    open_page(browser, folder / "index.html")
    browser.find_element("link text", "Open the cross-corpus board").click()
    assert browser.current_url.endswith("/cross.html")
    cells = "return [...document.querySelectorAll('.rows tbody tr')].map(row => row.cells[arguments[0]].textContent)"
    for column, key in enumerate(("train", "test", "model", "uar_pooled_mean")):
        browser.find_element("css selector", f'.rows th[data-col="{key}"] button').send_keys("\ue007")
        found = browser.execute_script(cells, column)
        by_number = sorted(found, key=lambda text: -float(text)) if column == 3 else None
        assert found == (by_number or sorted(found, key=str.lower))
        assert len(set(found)) > 1
    assert len(shown(browser, ".crossing td strong")) == 8
    link = browser.find_element("css selector", ".rows td a[download]")
    name = Path(link.get_attribute("href")).name
    link.click()
    deadline = time.monotonic() + 20
    while not (browser.downloads / name).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (browser.downloads / name).read_bytes() == (folder / "data" / name).read_bytes()
    (browser.downloads / name).unlink()
    assert complaints(browser) == []


def test_dashes_sort_last_both_ways(browser, folder: Path) -> None:
    open_page(browser, folder / "index.html")
    button = browser.find_element("css selector", '[data-corpus="c0"] th[data-col="n_params"] button')
    before = column(browser, "c0", "n_params")
    assert before.count("–") == 1
    for _ in range(2):
        button.click()
        assert column(browser, "c0", "n_params")[-1] == "–"
    assert complaints(browser) == []


def test_sorting_works_with_the_keyboard(browser, folder: Path) -> None:
    open_page(browser, folder / "index.html")
    button = browser.find_element("css selector", '[data-corpus="one"] th[data-col="model"] button')
    button.send_keys("\ue007")
    names = column(browser, "one", "model")
    assert names == sorted(names, key=str.lower)


def test_filters_hide_rows_and_boards_and_say_how_many_are_left(browser, folder: Path) -> None:
    open_page(browser, folder / "index.html")
    rows = len(shown(browser, ".board tbody tr:not(.group)"))
    assert shown(browser, "#count") == [f"{rows} of {rows} rows"]
    browser.find_element("id", "f-text").send_keys("STRO")
    assert set(shown(browser, ".board tbody th a")) == {"strong"}
    assert shown(browser, ".matrix tbody th") == ["strong"]
    assert shown(browser, "#count") == [f"9 of {rows} rows"]
    browser.find_element("id", "f-corpus").send_keys("c3")
    assert shown(browser, ".board h3 a") == ["c3"]
    browser.find_element("css selector", "#filters [type=reset]").click()
    time.sleep(0.2)
    assert shown(browser, "#count") == [f"{rows} of {rows} rows"]
    for name, value, left in (("family", "LSTM", "equal"), ("budget", "3 trials, 2 seeds, 5 epochs", "equal")):
        choose(browser, name, value)
        assert set(shown(browser, ".board tbody th a")) == {left}
        choose(browser, name, "")
    choose(browser, "corpus", IMAGE)
    assert shown(browser, ".board tbody th a") == [IMAGE]
    browser.find_element("id", "f-text").send_keys("nobody")
    assert shown(browser, "#nothing")
    assert complaints(browser) == []


def choose(browser, name: str, value: str) -> None:
    browser.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event('input', {bubbles: true}))",
        f"f-{name}",
        value,
    )


def test_the_theme_switches_and_is_remembered(browser, folder: Path) -> None:
    open_page(browser, folder / "index.html")
    ground = "return getComputedStyle(document.body).backgroundColor"
    first = browser.execute_script(ground)
    browser.find_element("id", "theme").click()
    second = browser.execute_script(ground)
    assert second != first
    browser.refresh()
    assert browser.execute_script(ground) == second
    browser.find_element("id", "theme").click()
    assert browser.execute_script(ground) == first


def test_a_models_page_opens_and_its_bundle_downloads(browser, folder: Path) -> None:
    open_page(browser, folder / "index.html")
    browser.find_element("css selector", '[data-corpus="one"] tbody th a').click()
    assert "/models/" in browser.current_url
    assert browser.find_element("tag name", "h1").text.split()[0] in ("strong", "equal")
    for link in browser.find_elements("css selector", "a[download]"):
        link.click()
    deadline = time.monotonic() + 20
    wanted = {".zip", ".csv"}
    while {p.suffix for p in browser.downloads.iterdir()} != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    for path in browser.downloads.iterdir():
        assert path.read_bytes() == (folder / "data" / path.name).read_bytes()
    browser.find_element("link text", "one").click()
    assert "/corpora/one" in browser.current_url
    assert complaints(browser) == []


def test_it_reads_without_javascript(browser, folder: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        open_page(browser, folder / "index.html")
        assert len(browser.find_elements("css selector", ".board")) == 10
        assert not browser.find_element("id", "filters").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make test-browser")
@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_axe_finds_no_serious_violation(browser, folder: Path, theme: str, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    kinds = (("models", "equal-one"), ("corpora", "one"))
    found = [next(folder.glob(f"{kind}/{stem}*.html")) for kind, stem in kinds]
    try:
        for path in [folder / "index.html", folder / "cross.html", *found]:
            open_page(browser, path)
            browser.execute_script(f"document.documentElement.dataset.theme = {theme!r}")
            browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
            browser.execute_script(AXE.read_text(encoding="utf-8"))
            result = browser.execute_async_script(
                "const done = arguments[arguments.length - 1];"
                "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']}).then(done)"
            )
            bad = [(v["id"], v["impact"], v["nodes"][0]["html"][:200]) for v in result["violations"]]
            assert not bad, f"{path.name}, {theme}, {width}: {bad}"
            assert len(result["passes"]) > 10
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_page_for_a_phone_shows_every_link_and_has_no_sideways_scrolling(browser, folder: Path) -> None:
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for path in sorted(folder.rglob("*.html")):
            open_page(browser, path)
            browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 390, path.name
            assert browser.execute_script(COVERED) == [], path.name
        open_page(browser, folder / "index.html")
        names = browser.find_elements("css selector", ".results tbody th[scope=row]")
        assert min(cell.rect["width"] for cell in names) > 90, "a model's name has room"
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture(scope="module")
def large(tmp_path_factory, made_bundle) -> Path:
    """A report of 200 models on 20 corpora, whose bundles are not at hand."""
    root = tmp_path_factory.mktemp("large")
    bundle_folder = made_bundle(root / "runs", "cnn", "one")
    row = {
        k: board_rows.text_of(v) for k, v in board_rows.row_of(bundle.load_run(bundle_folder), bundle_folder).items()
    }
    for c in range(TABLES):
        rows = [
            {**row, "corpus": f"corpus{c:02d}", "model": f"network_{m:03d}", "bundle": f"lost-{c}-{m}",
             "row_id": f"{c:05d}{m:05d}", "uar_pooled_mean": f"{40 + (m * 37 + c * 11) % 400 / 10:.2f}",
             "model_family": ("CNN", "LSTM", "transformer")[m % 3], "n_params": str(1000 + m * 977)}
            for m in range(ROWS)
        ]  # fmt: skip
        (root / "boards").mkdir(exist_ok=True)
        bundles = Bundles.of(root / "runs", root / "boards")
        board_files.write(root / "boards" / f"corpus{c:02d}.csv", leaderboard.ranked(rows, bundles))
    return report.write(report_gather.gather(root / "boards", root / "runs"), root / "report")


TIMED = """
const done = arguments[arguments.length - 1];
const act = new Function(arguments[0]);
requestAnimationFrame(() => {
  const started = performance.now();
  act();
  document.body.getBoundingClientRect();
  const laid = performance.now() - started;
  requestAnimationFrame(() => setTimeout(() => done([laid, performance.now() - started])));
});
"""
SET = (
    "const e = document.getElementById('f-{}'); e.value = '{}'; e.dispatchEvent(new Event('input', {{bubbles: true}}))"
)
RESET = "const f = document.getElementById('filters'); for (const e of f.elements) e.value = '';"
ACTIONS = {
    "sort a board": "document.querySelector('.board th[data-col=n_params] button').click()",
    "sort a board by name": "document.querySelector('.board th[data-col=model] button').click()",
    "sort the overview": "document.querySelector('.matrix th:nth-child(5) button').click()",
    "filter by text": SET.format("text", "_01"),
    "filter by corpus": SET.format("corpus", "corpus07"),
    "show all again": RESET + "f.dispatchEvent(new Event('input', {bubbles: true}))",
    "filter by family": SET.format("family", "LSTM"),
}


def test_two_hundred_models_on_twenty_corpora_stay_light(browser, large: Path, capsys) -> None:
    assert large.stat().st_size < 6_000_000
    open_page(browser, large)
    assert shown(browser, "#count") == [f"{TABLES * ROWS} of {TABLES * ROWS} rows"]
    took = {name: browser.execute_async_script(TIMED, script) for name, script in ACTIONS.items()}
    assert shown(browser, "#count") == [f"{TABLES * 67} of {TABLES * ROWS} rows"]
    assert complaints(browser) == []
    with capsys.disabled():
        lines = [f"  {name}: {laid:.0f} ms laid out, {drawn:.0f} ms drawn" for name, (laid, drawn) in took.items()]
        sys.stdout.write("\n".join(["", f"{large.stat().st_size / 1e6:.2f} MB, {TABLES * ROWS} rows", *lines, ""]))
