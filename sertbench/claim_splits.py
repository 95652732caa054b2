"""The splits of published claims: per seed, the folds that the claim's rule draws. Pure functions.

Utterances are in the order of their ids. The releases took whatever order the file system gave, so that their seeds
did not fix their splits; the rule is theirs, the draw is ours.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sertbench.claim import SplitRule
from sertbench.corpus import Corpus, Utterance
from sertbench.errors import ClaimError, ProtocolError, few, unknown
from sertbench.protocols import ROLES, Fold, Split

COLUMNS = ("utterance", "fold", "role")
Positions = Sequence[int] | np.ndarray


def split(rule: SplitRule, seed: int, utterances: Sequence[Utterance], corpus: Corpus, folder: Path) -> Split:
    """The folds of one seed; `folder` is the claim's. Raises ClaimError for a rule that these utterances do not fit.

    A fold without a validation part has its test part for one, as in the code of the papers that have none.
    """
    n, ids = len(utterances), tuple(u.id for u in utterances)
    if rule.rule == "random":
        folds = [random_fold(rule, seed, n)]
        name = f"random {rule.train:g}/{rule.validation:g}, seed {seed}"
    elif rule.rule == "kfold":
        folds = [drawn(fold, rule.validation, seed) for fold in random_folds(rule.folds, seed, n)]
        share = f", validation {rule.validation:g}" if rule.validation else ""
        name = f"random {rule.folds}-fold{share}, seed {seed}"
    elif rule.rule == "protocol":
        return from_protocol(rule, utterances, corpus)
    else:
        given = read_table(folder / rule.table, ids)
        refuse_validation(rule, given, folder / rule.table)
        folds = [drawn(fold, rule.validation, seed) for fold in given]
        name = f"{rule.table}, validation {rule.validation:g}, seed {seed if rule.validation else '-'}"
    for fold in folds:
        if empty := [role for role in ROLES if not fold.part(role)]:
            raise ClaimError(f"split {rule.name!r}, fold {fold.name}: no utterance to {empty[0]} out of {n}")
    return Split(name, ids, tuple(folds))


def fold_of(name: str, train: Positions, val: Positions, test: Positions) -> Fold:
    """A fold with the positions of each role in order; without a validation part it is the test part."""
    parts = [tuple(sorted(int(i) for i in part)) for part in (train, val if len(val) else test, test)]
    return Fold(name, *parts)


def random_fold(rule: SplitRule, seed: int, n: int) -> Fold:
    """The first of a random order train, the next validate, the rest is tested.

    As numpy.random.seed(seed); numpy.random.choice(n, int(train * n), replace=False) for the training part.
    """
    order = np.random.RandomState(seed).permutation(n)
    n_train, n_val = int(n * rule.train), share_of(n, rule.validation)
    return fold_of("1", order[:n_train], order[n_train : n_train + n_val], order[n_train + n_val :])


def share_of(n: int, share: float) -> int:
    """How many of `n` utterances validate. ClaimError for none: the test part would stand in for them."""
    if share and not int(n * share):
        raise ClaimError(f"validation = {share:g} of {n} utterances is none: give a larger share, or a larger subset")
    return int(n * share)


def random_folds(k: int, seed: int, n: int) -> list[Fold]:
    """scikit-learn's KFold(k, shuffle=True, random_state=seed)."""
    from sklearn.model_selection import KFold

    if n < k:
        raise ClaimError(f"{k} folds need {k} utterances at least; there are {n}")
    parts = KFold(k, shuffle=True, random_state=seed).split(np.arange(n))
    return [fold_of(str(i), train, (), test) for i, (train, test) in enumerate(parts, 1)]


def from_protocol(rule: SplitRule, utterances: Sequence[Utterance], corpus: Corpus) -> Split:
    """The folds of one of the corpus's own protocols."""
    known = {p.name: p for p in corpus.protocols}
    if rule.protocol not in known:
        raise ClaimError(f"split {rule.name!r}: {unknown('protocol of this corpus', rule.protocol, known)}")
    try:
        return known[rule.protocol].split(utterances)
    except ProtocolError as error:
        raise ClaimError(f"split {rule.name!r}: {error}") from error


def drawn(fold: Fold, share: float, seed: int) -> Fold:
    """The fold with a random share of its training part to validate."""
    if not share:
        return fold
    order = np.random.RandomState(seed).permutation(np.asarray(fold.train))
    n_val = share_of(len(order), share)
    return fold_of(fold.name, order[n_val:], order[:n_val], fold.test)


def read_table(path: Path, ids: Sequence[str]) -> list[Fold]:
    """The folds of a membership table, in the order of their names.

    The table has an utterance at most once per fold; where a fold names only test utterances, all others train. Raises
    ClaimError for a table that cannot be read, for ids that the corpus or the table lacks, and for double tests.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            header = tuple(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ClaimError(f"the membership table {path} cannot be read: {error}") from error
    if header != COLUMNS:
        raise ClaimError(f"{path}: its columns are {', '.join(header) or 'none'}; expected {', '.join(COLUMNS)}")
    position = {name: i for i, name in enumerate(ids)}
    parts: dict[str, dict[str, list[int]]] = {}
    seen: set[tuple[str, str]] = set()
    strangers = []
    for line, row in enumerate(rows, 2):
        if row["role"] not in ROLES:
            raise ClaimError(f"{path}, line {line}: {unknown('role', str(row['role']), ROLES)}")
        if (row["fold"], row["utterance"]) in seen:
            raise ClaimError(f"{path}, line {line}: {row['utterance']} is in fold {row['fold']} already")
        seen.add((row["fold"], row["utterance"]))
        if row["utterance"] in position:
            empty: dict[str, list[int]] = {role: [] for role in ROLES}
            parts.setdefault(row["fold"], empty)[row["role"]].append(position[row["utterance"]])
        else:
            strangers.append(row["utterance"])
    tested = Counter(row["utterance"] for row in rows if row["role"] == "test")
    if twice := [name for name, count in tested.items() if count > 1]:
        raise ClaimError(f"{path}: tested in more than one fold: {few(twice)}")
    named = {utterance for _, utterance in seen}
    absent = [name for name in ids if name not in named]
    if strangers or absent:
        said = [f"{len(strangers)} are not in the corpus: {few(strangers)}"] if strangers else []
        said += [f"{len(absent)} of the corpus are not in the table: {few(absent)}"] if absent else []
        raise ClaimError(f"{path}: {'; '.join(said)}. The label set, subset and corpus must be the table's own")
    return [complete(name, part, len(ids)) for name, part in sorted(parts.items())]


def refuse_validation(rule: SplitRule, folds: Sequence[Fold], path: Path) -> None:
    """ClaimError unless each fold that needs a validation part has one, either the table's own or a drawn share."""
    own = [fold.name for fold in folds if fold.val != fold.test]
    if own and rule.validation:
        raise ClaimError(
            f"{path} names utterances that validate in fold {few(own)}, and split {rule.name!r} would draw others: "
            f"leave out validation = {rule.validation:g}, or those rows"
        )
    lacking = [fold.name for fold in folds if fold.val == fold.test]
    if lacking and not rule.validation and rule.epoch == "best on validation":
        raise ClaimError(
            f"{path}: fold {few(lacking)} has no utterance that validates, and the epoch of split {rule.name!r} is the "
            "best on validation. Name them in the table, or give a share of `validation`"
        )


def complete(name: str, part: Mapping[str, Sequence[int]], n: int) -> Fold:
    """A fold of a table; where it names no training part, whatever is not tested or validated trains."""
    others = set(range(n)) - set(part["test"]) - set(part["val"])
    return fold_of(name, part["train"] or sorted(others), part["val"], part["test"])


def joined(name: str, splits: Mapping[int, Split]) -> Split:
    """The splits of all seeds as one table, whose folds are called <seed>/<fold>."""
    folds = [
        Fold(f"{seed}/{fold.name}", fold.train, fold.val, fold.test) for seed, s in splits.items() for fold in s.folds
    ]
    first = next(iter(splits.values()))
    return Split(name, first.ids, tuple(folds))
