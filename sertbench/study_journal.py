"""A study's journal on the disk: opened as it was left, cut back to whole batches, put aside if it is of no use.

It is of no use if it is damaged, or if its trials were scored by other code or libraries than those of today.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

if TYPE_CHECKING:
    from optuna import Study

MARK = "sertbench:batches"  # an attribute of the study, written after each whole batch
BASIS = "sertbench:basis"  #  another one: what its trials' scores depend on beside their parameters


def open_study(path: Path, name: str, basis: str) -> Study:
    """The study of a journal: begun, or as a killed run left it.

    `basis` is the identity of a fit of this study. A journal of another one is put aside: scores before and after an
    update are not to be compared, and fits that are still the same are found again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_back(path)

    def study() -> Study:
        return optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path))),
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.NopPruner(),
        )

    try:
        found = study()
        aside = ".outdated" if found.trials and found.user_attrs.get(BASIS) != basis else ""
    except (ValueError, KeyError, TypeError):  # what its trials came to lies with the fits
        aside = ".damaged"
    if aside:
        path.replace(path.with_suffix(aside))
        found = study()
    if not found.trials:
        found.set_user_attr(BASIS, basis)
    return found


def cut_back(path: Path) -> None:
    """Cut a journal back to the end of its last whole batch, and remove the lock of a killed process.

    A batch depends on the batches before it alone, so it is asked for again as it was. A trial of which only a part was
    written could not be: a sampler does not draw again what the journal holds, and would go on with other numbers.
    """
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink(missing_ok=True)
    if not path.exists():
        return
    size = whole = 0
    for line in path.read_bytes().splitlines(keepends=True):
        size += len(line)
        if MARK.encode() in line and line.endswith(b"\n"):
            whole = size
    if whole == 0:
        path.unlink()
    elif whole < path.stat().st_size:
        os.truncate(path, whole)


def mark(study: Study, trials: int) -> None:
    """Note that so many trials were asked and told in whole batches."""
    study.set_user_attr(MARK, trials)
