"""Which group each utterance of a finished run belongs to: its speaker, and the speaker's gender and age."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sertbench import bundle, config, corpus, exclusions, plugins, selection
from sertbench.results import Predictions

DECADE = 10


def speakers(predictions: Predictions) -> dict[str, str]:
    """The speaker of each utterance, which the bundle tells."""
    pairs = zip(predictions.column("utterance"), predictions.column("speaker"), strict=True)
    return {str(utterance): str(speaker) for utterance, speaker in pairs}


def of_corpus(folder: Path, run: Mapping[str, Any], data: str | None) -> dict[str, dict[str, str]]:
    """Gender and decade of age of each utterance, as far as the corpus tells: from names and tables, without audio.

    `data` is where the corpus lies now, if not where the run read it. CorpusError where it is not at hand.
    """
    settings = bundle.load_config(folder, run)
    loaded = plugins.load_corpus(settings.dataset)
    named = data or settings.data
    root = corpus.locate(loaded.name, loaded.corpus, Path(named) if named else None, config.cache_folder())
    left_out = exclusions.read(Path(settings.accept_missing)) if settings.accept_missing else ()
    with exclusions.reading(loaded.corpus.home(root), left_out):
        found = loaded.corpus.at(root)
    label_set, ages = found.label_set(settings.labels), found.ages(root)
    chosen = selection.select(found, run["corpus"]["name"], root, label_set, settings.subset, left_out)
    return {
        "gender": {u.id: u.gender or "" for u in chosen},
        "age": {u.id: decade(ages[u.speaker]) if u.speaker in ages else "" for u in chosen},
    }


def decade(years: int) -> str:
    """The decade of life.

    >>> decade(31)
    '30-39'
    """
    first = years // DECADE * DECADE
    return f"{first}-{first + DECADE - 1}"
