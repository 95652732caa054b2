"""The documentation site: its pages are all reachable, its links lead somewhere, and nothing in it is out of date."""

from __future__ import annotations

import importlib.util
import re
import shlex
from argparse import SUPPRESS, ArgumentParser
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from sertbench import cli, plugins
from sertbench.config import RunConfig

CHECKOUT = Path(__file__).parents[1]
DOCS = CHECKOUT / "docs"
WRITTEN = sorted(DOCS.rglob("*.md"))
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def loaded(name: str) -> Any:
    """A module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks = loaded("hooks")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """All pages as MkDocs gets them, by their path in docs/."""
    written = {path.relative_to(DOCS).as_posix(): hooks.filled(path.read_text(encoding="utf-8")) for path in WRITTEN}
    return written | {name: make() for name, make in hooks.PAGES.items()}


def nav(entries: list[Any]) -> list[str]:
    """The pages of the site's navigation."""
    found = []
    for entry in entries:
        (value,) = entry.values()
        found += nav(value) if isinstance(value, list) else [value]
    return found


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)


def anchors(page: str) -> set[str]:
    """The ids of its headings, as Python-Markdown makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE):
        named = re.search(r"\{ #(\S+) \}", heading)
        plain = re.sub(r"[^\w\s-]", "", heading).strip().lower()
        found.add(named[1] if named else re.sub(r"[-\s]+", "-", plain))
    return found


def test_every_page_is_in_the_navigation_once(pages):
    listed = nav(yaml.safe_load((CHECKOUT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(listed) == sorted(pages)


def test_every_internal_link_leads_somewhere(pages):
    followed = 0
    for name, page in pages.items():
        for link in LINK.findall(prose(page)):
            if link.startswith(("http:", "https:")):
                continue
            path, _, anchor = link.partition("#")
            target = (Path(name).parent / path).as_posix() if path else name
            target = str(Path("/", target).resolve()).lstrip("/")
            assert target in pages, f"{name}: [{link}] leads nowhere"
            assert not anchor or anchor in anchors(pages[target]), f"{name}: [{link}] has no such heading"
            followed += 1
    assert followed > 30


def test_the_links_of_the_readme_into_the_checkout_exist():
    for name in ("README.md", "leaderboards/README.md"):
        for link in LINK.findall((CHECKOUT / name).read_text(encoding="utf-8")):
            if not link.startswith(("http:", "https:", "#")):
                assert (CHECKOUT / name).parent.joinpath(link.partition("#")[0]).exists(), f"{name}: {link}"


def options(parser: ArgumentParser) -> set[str]:
    """All flags of a command and its subcommands, as `--help` has them."""
    own = {flag for a in parser._actions if a.help != SUPPRESS for flag in a.option_strings}
    return own.union(*(options(one) for one, _ in hooks.subparsers(parser).values())) - {"-h", "--help"}


def test_every_command_and_flag_is_in_the_reference(pages):
    reference = pages["commands.md"]
    for name, (parser, said) in hooks.subparsers(cli.parser()).items():
        section = reference.partition(f"\n## {name} {{ #{name} }}")[2].partition("\n## ")[0]
        assert hooks.text(said[1:]) in section, name
        for flag in options(parser):
            assert re.search(rf"(?<![\w-]){flag}(?![\w-])", section), f"{name}: {flag} is missing"
    assert set(hooks.subparsers(cli.parser())) == set(cli.COMMANDS)


def test_every_option_of_a_run_is_in_the_reference_with_its_sentence(pages):
    section = pages["commands.md"].partition("\n## run {")[2].partition("\n## ")[0]
    for option in fields(RunConfig):
        assert f"--{option.name.replace('_', '-')}" in section
        assert hooks.text(option.metadata["help"]) in section


def test_every_corpus_protocol_and_model_is_on_its_page(pages):
    for name, corpus in hooks.adapters():
        assert hooks.code(name) in pages["corpora.md"]
        for protocol in corpus.protocols:
            assert hooks.code(f"{protocol.name}/{protocol.version}") in pages["protocols.md"]
            assert type(protocol) in hooks.RULES, f"docs/hooks.py: RULES lacks {type(protocol).__name__}"
    for name, source in plugins.sources("models").items():
        assert source.origin != "built in" or hooks.code(name) in pages["models.md"]


def typed(page: str) -> list[str]:
    """The commands of sertbench that a page shows, without what stands for something else."""
    found = []
    for line in re.findall(r"^(?: {4}|\$ )(sertbench [a-z].*)$", page, flags=re.MULTILINE):
        command = re.split(r"\s# |\s+[|&]|\s2>", line)[0]
        if "…" not in command and "COMMAND" not in command and "[options]" not in command:
            found.append(command.strip())
    return found


@pytest.mark.parametrize("path", [CHECKOUT / "README.md", *WRITTEN], ids=lambda path: path.stem)
def test_every_command_that_is_shown_can_be_typed(path, capsys):
    for command in typed(path.read_text(encoding="utf-8")):
        try:
            cli.parser().parse_args(shlex.split(command)[1:])
        except SystemExit:
            pytest.fail(f"{path.name}: {command}\n{capsys.readouterr().err}")


def test_commands_are_found_on_pages():
    assert len(typed((DOCS / "publish.md").read_text(encoding="utf-8"))) > 5


def test_words_of_the_program_are_text_on_a_page():
    assert hooks.text("a|b <i>*x*</i> [c](d)") == "a&#124;b &lt;i&gt;&#42;x&#42;&lt;/i&gt; &#91;c&#93;(d)"
    assert hooks.text("type `a|<b>` now") == "type <code>a&#124;&lt;b&gt;</code> now"
    assert hooks.text("odd ` tick") == "odd &#96; tick"


def test_a_grammar_with_subcommands_choices_and_required_flags_becomes_a_page():
    parser = ArgumentParser(prog="sertbench thing")
    below = parser.add_subparsers().add_parser("deep", help="go deeper")
    below.add_argument("what", nargs="+", choices=("a", "b"), help="one of %(choices)s")
    below.add_argument("--to", required=True, default=3, metavar="N", help="so many (%(default)s)")
    below.add_argument("--hidden", help=SUPPRESS)
    page = hooks.command("thing", parser, "do things")
    assert "### thing deep { #thing-deep }" in page
    assert "sertbench thing deep --to N {a,b} [{a,b} ...]" in page
    assert "one of a, b" in page
    assert "so many (3)" in page
    assert "hidden" not in page


@pytest.mark.parametrize(
    "page", [p for p in WRITTEN if "<!-- made: " in p.read_text(encoding="utf-8")], ids=lambda p: p.name
)
def test_made_tables_are_up_to_date_in_the_repository_too(page):
    written = page.read_text(encoding="utf-8")
    assert written == hooks.filled(written), "type `make tables`"


def test_a_table_that_nobody_makes_is_an_error():
    with pytest.raises(KeyError, match="nonsense"):
        hooks.filled("<!-- made: nonsense -->")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_site_builds_strictly_and_asks_nobody_for_anything(tmp_path, monkeypatch):
    pytest.importorskip("mkdocs", reason="make docs installs it")
    pytest.importorskip("mkdocstrings_handlers.python", reason="make docs installs it")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    monkeypatch.chdir(CHECKOUT)
    config = load_config(str(CHECKOUT / "mkdocs.yml"), site_dir=str(tmp_path / "site"))
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    assert (tmp_path / "site/search/search_index.js").read_text(encoding="utf-8").startswith("var __index = {")
    for path in (tmp_path / "site").rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe)[^>]+src="?(?:https?:)?//', page), path.name
        assert not re.findall(r'<link[^>]+rel="?(?:stylesheet|preconnect|icon)[^>]+href="?(?:https?:)?//', page), (
            path.name
        )
    assert "speaker" in (tmp_path / "site/api/corpus.html").read_text(encoding="utf-8")
