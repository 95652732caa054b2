"""Pre-training exposure: whether a checkpoint has heard, or was even taught, the corpus that it is to be tested on.

`exposure.toml` names the corpora that known checkpoints were trained on, with its sources. It is looked up by hub id:
the name of a local folder proves nothing. The owner of a local checkpoint says what it heard in an `exposure.toml` of
the checkpoint's folder, as one entry of that file is written, or as `same_as = "facebook/wav2vec2-base"`; the row says
who said so. What nobody says is not assumed: a row is ranked only if the corpus can be ruled out.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from sertbench import pretrained
from sertbench.errors import ConfigError
from sertbench.feature_spec import Features
from sertbench.pretrained_spec import Pretrained

FILE = "exposure.toml"
KEYS = {"corpora": list, "labelled": list, "possible": list, "undisclosed": str, "source": str, "same_as": str}


@dataclass(frozen=True)
class Exposure:
    """What is known of one checkpoint and one corpus."""

    # none; exposed; possible (some data came from the same place); undisclosed (some data is not named); unknown
    # (nobody says); "" without a checkpoint
    status: str
    details: str  #  in words, with the source
    declared: bool = False  # by a file beside the checkpoint, not by the ledger

    @property
    def cell(self) -> str:
        """The cell of the leaderboard."""
        return f"{self.status} (declared)" if self.declared else self.status

    @property
    def unranked(self) -> str:
        """Why the row is not ranked; empty if exposure does not stand against it."""
        return {
            "exposed": "pre-training exposure: the checkpoint was trained on this corpus",
            "possible": "pre-training exposure cannot be ruled out: some of its data is from the same source",
            "undisclosed": "pre-training exposure cannot be ruled out: part of the checkpoint's data is not disclosed",
            "unknown": "pre-training exposure is unknown: nobody says what the checkpoint was trained on",
        }.get(self.status, "")


NO_CHECKPOINT = Exposure("", "")


def judge(features: Features | None, corpus: str) -> Exposure:
    """The exposure of a run's front-end (resolved) to its corpus."""
    if not isinstance(features, Pretrained):
        return NO_CHECKPOINT
    entry, declared = entry_of(features)
    if entry is None:
        return Exposure(
            "unknown",
            f"{features.checkpoint} is not in the ledger; a file {FILE} in its folder can say (see docs/encoders.md)",
        )
    heard, taught, possible = (
        {alike(name): name for name in entry.get(key, [])} for key in ("corpora", "labelled", "possible")
    )
    if spellings(corpus) & {*heard, *taught}:
        how = "with its labels" if spellings(corpus) & taught.keys() else "without labels"
        return Exposure(
            "exposed", f"{features.checkpoint} was trained on {corpus}, {how} ({entry['source']})", declared
        )
    if spellings(corpus) & possible.keys():
        return Exposure("possible", f"{features.checkpoint}: {entry['source']}", declared)
    if entry.get("undisclosed"):
        return Exposure("undisclosed", f"{features.checkpoint}: {entry['undisclosed']} ({entry['source']})", declared)
    known = ", ".join([*heard.values(), *taught.values()]) or "no corpus"
    return Exposure("none", f"{features.checkpoint} was trained on {known} ({entry['source']})", declared)


def worst(found: Collection[Exposure]) -> Exposure:
    """Of the exposures to several corpora the one that tells most against a score."""
    order = ("exposed", "possible", "undisclosed", "unknown", "none", "")
    return min(found, key=lambda one: order.index(one.status))


def alike(name: str) -> str:
    """What is left of a corpus's name when it is spelt in another way: MSP-Podcast is msp_podcast."""
    return re.sub(r"[\W_]", "", name).lower()


def spellings(corpus: str) -> set[str]:
    """The names that stand for a corpus; a table of the user's own (csv-NAME) is also csv, as it is listed."""
    return {alike(corpus), *(["csv"] if corpus.startswith("csv-") else [])}


def entry_of(features: Pretrained) -> tuple[dict[str, Any] | None, bool]:
    """The ledger's entry of a checkpoint, or the one that its folder declares; and whether it is the latter."""
    folder = pretrained.folder_of(features.sha256)
    if pretrained.HUB_ID.fullmatch(features.checkpoint):
        return ledger().get(features.checkpoint), False
    path = folder / FILE
    if not path.exists():
        return None, False
    try:
        entry = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from error
    return checked(entry, str(path)), True


def all_names(values: list[Any]) -> bool:
    """Whether a list holds names alone."""
    return all(isinstance(value, str) and value.strip() for value in values)


@cache
def ledger() -> dict[str, dict[str, Any]]:
    """All entries by hub id."""
    text = resources.files("sertbench").joinpath(FILE).read_text(encoding="utf-8")
    entries = tomllib.loads(text)["checkpoint"]
    return {hub_id: entry for entry in entries for hub_id in entry["ids"]}


def checked(entry: dict[str, Any], place: str) -> dict[str, Any]:
    """A declaration with what it refers to filled in. ConfigError if it is not one."""
    wrong = [
        key
        for key, value in entry.items()
        if not isinstance(value, KEYS.get(key, ())) or (isinstance(value, list) and not all_names(value))
    ]
    if wrong:
        raise ConfigError(f"{place}: {', '.join(wrong)} is not accepted. Keys: {', '.join(KEYS)}")
    if "same_as" in entry:
        if entry["same_as"] not in ledger():
            raise ConfigError(
                f"{place}: same_as = {entry['same_as']!r} is not in the ledger ({Path(__file__).with_name(FILE)})"
            )
        return ledger()[entry["same_as"]]
    if "corpora" not in entry or not entry.get("source"):
        raise ConfigError(
            f'{place}: say what the checkpoint was trained on and where that is written: corpora = ["librispeech"] and '
            'source = "…", or same_as = "facebook/wav2vec2-base". Corpora as `sertbench list datasets` calls them'
        )
    return entry
