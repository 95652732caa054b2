"""What the documentation takes from the program itself, so that it cannot be out of date.

`commands.md` is made of the command line's grammar. In a page, what follows `<!-- made: NAME -->` is one of TABLES;
`make tables` writes them there, for readers of the repository, and a test sees that they are up to date. MkDocs calls
`on_files` and `on_page_markdown`; the tests call the rest.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sertbench import (
    claim,
    claim_file,
    cli,
    corpus_facts,
    feature_spec,
    plugin_text,
    plugins,
    protocol_rules,
    stress_kinds,
)
from sertbench.protocols import GroupFolds

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

MADE = re.compile(r"<!-- made: ([\w-]+) -->(?:\n.*?<!-- end of \1 -->)?", re.DOTALL)
RULES = (
    GroupFolds,
    protocol_rules.SpeakerFolds,
    protocol_rules.BlockFolds,
    protocol_rules.OfficialSplit,
    protocol_rules.SharedValidation,
    protocol_rules.PartnerFolds,
    protocol_rules.RandomFolds,
)
COMMANDS_HEAD = """# Commands

Made from the command line's own grammar: what `sertbench COMMAND --help` says. The exit status is 0 when all is well,
1 when something failed in part or was found wrong, 2 for what you can mend (the message says how), 130 after Ctrl-C and
143 after SIGTERM; where a command differs, its section says so.

Flags of `sertbench run`, from `--model` on, and `models` and `datasets` may also stand in a TOML file (`--config`),
with underscores for hyphens.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    from mkdocs.structure.files import File

    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables into a page."""
    return filled(markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Write the search index as a script too: pages that are read from the file system may not fetch."""
    index = Path(config.site_dir) / "search" / "search_index.json"
    index.with_suffix(".js").write_text(f"var __index = {index.read_text(encoding='utf-8')}", encoding="utf-8")


def filled(markdown: str) -> str:
    """The page with its tables. Raises KeyError for a table that nobody makes."""
    return MADE.sub(lambda m: f"<!-- made: {m[1]} -->\n\n{TABLES[m[1]]().strip()}\n\n<!-- end of {m[1]} -->", markdown)


def write_tables() -> None:
    """Bring the tables in the pages beside this file up to date."""
    for page in sorted(Path(__file__).parent.glob("*.md")):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


def text(words: object) -> str:
    """Words that Markdown shows as they are; what stands between backticks becomes code."""
    marks = {mark: f"&#{ord(mark)};" for mark in "|*_`[]\\~$"}
    parts = str(words).split("`")
    if len(parts) % 2 == 0:  # an odd backtick
        parts = [str(words)]
    shown = ["".join(marks.get(c, c) for c in escape(part, quote=False)) for part in parts]
    return "".join(f"<code>{part}</code>" if k % 2 else part for k, part in enumerate(shown))


def code(words: object) -> str:
    """Words in the type of code."""
    return text(f"`{words}`") if words else ""


def long(words: object) -> str:
    """Words for a cell that must not become a narrow column of single words."""
    return f'<span class="long">{text(words)}</span>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are safe."""
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def commands() -> str:
    """The page of all commands."""
    top = cli.parser()
    found = subparsers(top)
    overview = table(("command", "what it does"), ((f"[`{name}`](#{name})", text(h)) for name, (_, h) in found.items()))
    return "\n".join([COMMANDS_HEAD, overview, *(command(name, one, said) for name, (one, said) in found.items())])


def subparsers(parser: argparse.ArgumentParser) -> dict[str, tuple[argparse.ArgumentParser, str]]:
    """Subcommands with their sentence, in the order of --help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            said = {choice.dest: choice.help or "" for choice in action._choices_actions}
            return {name: (one, said[name]) for name, one in action.choices.items() if name in said}
    return {}


def command(name: str, parser: argparse.ArgumentParser, said: str, level: int = 2) -> str:
    """The section of a command, and of its own subcommands."""
    below = subparsers(parser)
    shown = [a for a in parser._actions if a.help != argparse.SUPPRESS and a.dest != "help"]
    shown = [a for a in shown if not isinstance(a, argparse._SubParsersAction)]
    parts = [f"{'#' * level} {name} {{ #{name.replace(' ', '-')} }}\n", f"{text(said[:1].upper() + said[1:])}.\n"]
    parts.append(f"```text\n{usage(parser, shown, bool(below))}\n```\n")
    if parser.description:
        parts.append(text(parser.description) + "\n")
    if shown:
        parts.append(table(("argument", "meaning"), ((argument(a), meaning(a, parser)) for a in shown)))
    if parser.epilog:
        plain = parser.formatter_class is argparse.HelpFormatter
        parts.append(f"{text(parser.epilog)}\n" if plain else f"```text\n{parser.epilog.strip()}\n```\n")
    parts += [command(f"{name} {key}", one, words, level + 1) for key, (one, words) in below.items()]
    return "\n".join(parts)


def usage(parser: argparse.ArgumentParser, actions: Sequence[argparse.Action], below: bool) -> str:
    """How to type it, in a line; optional flags are in the table."""
    words = [parser.prog]
    words += ["[options]"] * any(a.option_strings and not a.required for a in actions)
    words += [f"{a.option_strings[-1]} {' '.join(values(a))}" for a in actions if a.option_strings and a.required]
    words += [" ".join(values(a)) for a in actions if not a.option_strings]
    return " ".join([*words, *["COMMAND ..."] * below])


def values(action: argparse.Action) -> list[str]:
    """What stands for an argument's values."""
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices is not None and action.metavar is None:
        name = "{" + ",".join(map(str, action.choices)) + "}"
    forms: dict[Any, list[str]] = {
        None: [name], "?": [f"[{name}]"], "*": [f"[{name} ...]"], "+": [f"{name} [{name} ...]"], 0: [],
    }  # fmt: skip
    return forms.get(action.nargs, [name] * action.nargs if isinstance(action.nargs, int) else [name])


def argument(action: argparse.Action) -> str:
    """An argument as it is typed."""
    typed = " ".join([", ".join(action.option_strings), *values(action)]).strip()
    return code(typed)


def meaning(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """Its help, with what argparse would fill in."""
    facts = {**vars(action), "prog": parser.prog, "choices": ", ".join(map(str, action.choices or ()))}
    return text((action.help or "") % facts)


def adapters() -> Iterator[tuple[str, Any]]:
    """The built-in corpora."""
    for name, loaded in plugins.load_corpora().items():
        if loaded.origin == "built in":
            yield name, loaded.corpus


def protocols() -> str:
    """All protocols, a section and a table for each corpus."""
    parts = []
    for name, corpus in adapters():
        rows = []
        for protocol in corpus.protocols:
            kept = ", ".join(key + (" (test)" if said == "test" else "") for key, said in protocol.promises.items())
            cells = (code(f"{protocol.name}/{protocol.version}"), long(protocol.summary), text(kept or "nothing"))
            rows.append((*cells, text(protocol.covers)))
        parts += [f"### {name}\n", table(("protocol", "what it is", "kept apart", "tests"), rows)]
    return "\n".join(parts)


def rules() -> str:
    """The rules that protocols are made with."""
    rows = []
    for rule in RULES:
        summary = (rule.__doc__ or "").strip().partition("\n")[0]
        used = sum(isinstance(p, rule) for _, corpus in adapters() for p in corpus.protocols)
        rows.append((code(rule.__name__), long(summary), str(used)))
    return table(("rule", "what it does", "protocols"), rows)


def datasets() -> str:
    """All corpora, and why some are never ranked."""
    rows, reasons = [], []
    for name, corpus in adapters():
        f = corpus_facts.facts(corpus)
        cells = (f.language, f.speakers, f.classes, f.utterances, f.hours, f.licence, f.access)
        rows.append((code(name), *map(text, cells), "no" if f.unranked else "yes"))
        if f.unranked:
            reasons.append(f"- {code(name)}: {text(f.unranked)}")
    head = ("corpus", "language", "speakers", "classes", "utterances", "hours", "licence", "access", "ranked")
    return "\n".join([table(head, rows), "Not ranked, and why:\n", *reasons])


def labels() -> str:
    """All label sets."""
    rows = []
    for name, corpus in adapters():
        for k, one in enumerate(corpus.label_sets):
            total = f"{sum(one.counts.values()):,}" if one.counts else "–"
            classes = ", ".join(f"{c} {one.counts[c]}" if one.counts else c for c in one.classes)
            rows.append((code(name) if not k else "", code(one.name), total, long(classes), text(one.note)))
    return table(("corpus", "label set (first: default)", "utterances", "classes", "note"), rows)


def models() -> str:
    """All models."""
    rows = []
    for source in plugins.sources("models").values():
        if source.origin == "built in":
            size = f"{source.n_parameters:,}" if source.n_parameters else "–"
            cells = (source.family, str(source.year or "–"), size, source.features or "–")
            paper = plugin_text.short(source.paper) or "–"
            rows.append((code(source.name), *map(text, cells), long(source.summary), text(paper)))
    return table(("model", "family", "year", "parameters", "features, window / hop", "what it is", "paper"), rows)


def features() -> str:
    """All kinds of features."""
    return table(("kind", "what it is"), ((code(k), text(said)) for k, said in feature_spec.KINDS.items()))


def claims() -> str:
    """All published claims that can be replayed."""
    rows = []
    for name in claim.names():
        one = claim_file.load(name)
        rows.append((code(name), long(one.title), long(one.paper), text(", ".join(c.dataset for c in one.corpora))))
    return table(("claim", "what it is", "paper", "corpora"), rows)


def disturbances() -> str:
    """All ways in which test speech can be disturbed."""
    rows = []
    for name, kind in stress_kinds.KINDS.items():
        tried = ", ".join(f"{strength:g}" for strength in kind.strengths) if kind.unit else ""
        rows.append((code(name), text(kind.group), text(kind.text), text(f"{tried} {kind.unit}".strip())))
    return table(("kind", "group", "what it is", "strengths tried"), rows)


def exposure() -> str:
    """What known checkpoints were trained on."""
    path = Path(__file__).parents[1] / "sertbench" / "exposure.toml"
    rows = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["checkpoint"]:
        heard = ", ".join(entry.get("corpora", ()))
        said = (("labelled", "with emotion labels: "), ("possible", "possibly: "), ("undisclosed", "not disclosed: "))
        for key, words in said:
            if found := entry.get(key):
                heard += "; " * bool(heard) + words + (found if isinstance(found, str) else ", ".join(found))
        rows.append(("<br>".join(map(code, entry["ids"])), long(heard), long(entry["source"])))
    return table(("checkpoints", "trained on", "source"), rows)


def extras() -> str:
    """The optional parts of the installation, and the first comment on each in pyproject.toml."""
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    rows = []
    for key, found in tomllib.loads(project)["project"]["optional-dependencies"].items():
        block = project.partition(f"\n{key} = [")[2]
        said = re.search(r"#\s*(.*)", re.split(r"\n\w+ = |\n\n", block)[0])
        names = ", ".join(re.split(r"[<>=~!;\[ ]", one)[0] for one in found)
        if key != "dev":
            rows.append((code(key), text(said[1] if said else ""), text(names)))
    return table(("extra", "for", "brings"), rows)


PAGES: dict[str, Callable[[], str]] = {"commands.md": commands}
TABLES: dict[str, Callable[[], str]] = {
    made.__name__: made
    for made in (protocols, rules, datasets, labels, models, features, claims, disturbances, exposure, extras)
}

if __name__ == "__main__":
    write_tables()
