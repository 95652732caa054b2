"""One folder of static HTML for a set of leaderboards: it works from the file system, offline, and without JavaScript.

    index.html            boards, overview, optimism meter, comparison over corpora
    cross.html            the cross-corpus board, if there is one
    models/, corpora/     a page per run whose bundle is at hand, and per corpus
    data/                 the CSVs, byte for byte, and the bundles as zip files
    assets/               style sheet and script

The charts are inline SVG of our own (`svg`), not a plotting library: a library of megabytes would have to be loaded by
every page, prints badly and says nothing to a screen reader. Everything that comes from a CSV or a bundle is escaped
by the templates; file names are made by `report_view.slug`.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from sertbench import __version__, report_cross, report_stress
from sertbench.errors import StorageError
from sertbench.report_pages import corpus_values, index_values, model_values
from sertbench.report_view import View, measure, shown

ASSETS = Path(__file__).parent / "assets"
MARK = ".sertbench-report"  # a folder with this file may be replaced
BUNDLED = (
    "config.toml", "predictions.parquet", "split.parquet", "audio.parquet", "activations.parquet", "run.json",
)  # fmt: skip


def write(view: View, out: Path) -> Path:
    """Write the report; gives its index.html.

    The folder appears in one step; an older report there is replaced, and of a link what it leads to. Raises
    StorageError if it holds anything else, or is the working directory, which cannot be replaced.
    """
    place = out.resolve()
    if Path.cwd().is_relative_to(place):
        raise StorageError(f"{out} is the folder that you are in, or above it: name one below it with --out")
    if place.exists() and not (place / MARK).exists() and (not place.is_dir() or any(place.iterdir())):
        raise StorageError(f"{out} is there and is not a report: name another folder with --out")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as draft:
        made = Path(draft) / "report"
        fill(view, made)
        if place.exists():
            shutil.rmtree(place)
        made.rename(place)
    return out / "index.html"


def fill(view: View, folder: Path) -> None:
    """Write all files of a report into a new folder."""
    for name in ("assets", "corpora", "data", "models"):
        (folder / name).mkdir(parents=True)
    for name in ("report.css", "report.js"):
        shutil.copyfile(ASSETS / name, folder / "assets" / name)
    pages = environment()
    page(pages, folder / "index.html", "report_index.html.j2", "", index_values(view))
    for corpus in view.corpora:
        shutil.copyfile(corpus.csv, folder / "data" / f"{corpus.page}.csv")
        path = folder / "corpora" / f"{corpus.page}.html"
        page(pages, path, "report_corpus.html.j2", "../", corpus_values(corpus))
        for table in corpus.tables:
            for entry in table.entries:
                if entry.folder is not None:
                    zip_bundle(entry.folder, folder / "data" / f"{entry.page}.zip")
                    if measured := report_stress.csv_of(report_stress.stressed(entry)[0]):
                        shutil.copyfile(measured, folder / "data" / f"{entry.page}-stress.csv")
                    path = folder / "models" / f"{entry.page}.html"
                    page(pages, path, "report_model.html.j2", "../", model_values(view, corpus, table, entry))
    if view.cross is not None:
        shutil.copyfile(view.cross.csv, folder / "data" / report_cross.CSV)
        page(pages, folder / report_cross.PAGE, "report_cross.html.j2", "", report_cross.values(view.cross))
        for crossed in {c.file: c for c, _ in view.cross.rows if c.folder}.values():
            assert crossed.folder is not None
            zip_bundle(crossed.folder, folder / "data" / f"{crossed.file}.zip")
    (folder / MARK).write_text(f"sertbench {__version__}\n")


def environment() -> Environment:
    """The templates; everything is escaped, and a name that is not given is an error."""
    made = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["breakable"] = lambda text: escape(text).replace("_", Markup("_<wbr>"))
    made.globals.update(shown=shown, measure=measure)
    return made


def page(pages: Environment, path: Path, template: str, root: str, values: Mapping[str, Any]) -> None:
    """Render one page; `root` leads from it to the report's folder."""
    text = pages.get_template(template).render(root=root, version=__version__, **values)
    path.write_text(text, encoding="utf-8")


def zip_bundle(folder: Path, path: Path) -> None:
    """A bundle's published files; the same bundle gives the same bytes. Links are left out: they may lead anywhere."""
    files = [folder / name for name in BUNDLED] + sorted((folder / "studies").glob("*.journal"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for file in files:
            if file.is_file() and not file.is_symlink():
                name = zipfile.ZipInfo(f"{path.stem}/{file.relative_to(folder).as_posix()}", (1980, 1, 1, 0, 0, 0))
                name.compress_type = zipfile.ZIP_DEFLATED
                target.writestr(name, file.read_bytes())
