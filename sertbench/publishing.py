"""Publish a run: a compact copy of its bundle beside the leaderboards, without a word about the machine's folders."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

import tomli_w

from sertbench import board_rows, bundle, files, verify
from sertbench.bundles import Bundles
from sertbench.errors import BundleError, few

SPOKEN = ("config", "environment", "failures", "model")  # parts of run.json that may name folders of the machine
ABSOLUTE = re.compile(r"(?:(?<![\w./~-])~?/|(?<!\w)[A-Za-z]:\\)[\w.~-]+[\\/]")  # /a/..., ~/a/..., C:\a\...


def publish(folder: Path, bundles: Bundles) -> Path:
    """Write the public copy of a bundle; gives its folder. run.json is written last, as in every bundle.

    Raises BundleError if a figure does not follow from the predictions, if the corpus is synthetic, or if something
    still names a folder of this machine.
    """
    run = bundle.load_run(folder)
    if verify.is_replay(run):
        raise BundleError(f"{folder.name} is a replay of a claim; `sertbench publish` takes what `sertbench run` wrote")
    if run["corpus"].get("synthetic"):
        raise BundleError(
            f"{folder.name}: the corpus {run['corpus']['name']} is synthetic: its scores are not published"
        )
    if findings := verify.verify_bundle(folder):
        raise BundleError(f"{folder.name} is not what its predictions give: {few(map(str, findings), 3)}")
    if "cross" not in run:
        board_rows.row_from(folder)  # a bundle that gives no row stays where it is
    run |= {part: public(run[part]) for part in SPOKEN if part in run}
    if private := list(private_words(run)):
        raise BundleError(f"{folder.name} names folders of this machine: {few(private, 3)}. Rename them, and run again")
    target = (bundles.crossed if "cross" in run else bundles).published / folder.name
    if not (target.exists() and target.samefile(folder)):  # of one that is published again, run.json is all there is
        (target / "run.json").unlink(missing_ok=True)
    config = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
    files.write_text(target / "config.toml", tomli_w.dumps(public(config)))
    for name in run["files"]:  # `verify` has compared them with their hashes
        if name != "config.toml" and bundle.is_file_name(name):
            files.write(target / name, partial(shutil.copyfile, folder / name))
    bundle.save_run(target, {**run, "files": {name: files.sha256(target / name) for name in run["files"]}})
    return target


def public(value: Any) -> Any:
    """The same without absolute paths: the corpus's folder is left out, of others the last name stays."""
    if isinstance(value, Mapping):
        return {k: public_command(v) if k == "command" else public(v) for k, v in value.items() if k != "data"}
    if isinstance(value, list):
        return [public(v) for v in value]
    return last_name(value) if isinstance(value, str) else value


def public_command(command: str) -> str:
    """A command line without the folder of the corpus, and with other absolute paths cut to their last name."""
    words = iter(shlex.split(command))
    kept = []
    for word in words:
        if word == "--data":
            next(words, None)
        elif not word.startswith("--data="):
            kept.append(last_name(word))
    return shlex.join(kept)


def last_name(text: str) -> str:
    """An absolute path's last name, with what precedes the path in the same word; any other text as it is."""
    found = ABSOLUTE.search(text)
    if found is None or " " in text:
        return text
    return text[: found.start()] + PureWindowsPath(text[found.start() :]).name


def private_words(value: Any, key: str = "run.json") -> Iterator[str]:
    """Whatever still looks like an absolute path, with where it stands."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from private_words(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from private_words(inner, key)
    elif isinstance(value, str) and ABSOLUTE.search(value):
        yield f"{key} = {json.dumps(value)}"
