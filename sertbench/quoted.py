"""Published figures of other people's papers, as rows of the replication board: quoted with source and protocol.

They come from the claims that `sertbench replay` does again, are never ranked, and nobody can verify them: there are no
predictions. They stand below the measured rows, so that a reader sees what is claimed elsewhere and under which rules.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from sertbench import claim_file
from sertbench.claim import SCORES, Claim, ClaimedCorpus, Published, SplitRule, names

REASON = "quoted from a paper: no predictions to verify it with"
COLUMNS = (*(f"published_{score}{sd}" for score in SCORES for sd in ("", "_sd")), "source", "differs")


def is_quoted(row: Mapping[str, Any]) -> bool:
    """Whether a row of a leaderboard is a quoted one."""
    return row.get("unranked_reason") == REASON


@cache
def rows(corpus: str) -> tuple[dict[str, Any], ...]:
    """All figures that the claims quote on a corpus, in the claims' order."""
    return tuple(row for name in names() for row in of_claim(claim_file.load(name), corpus))


def of_claim(claim: Claim, corpus: str) -> Iterator[dict[str, Any]]:
    """One row per published line of a claim about this corpus."""
    corpora = {c.dataset: c for c in claim.corpora}
    splits = {s.name: s for s in claim.splits}
    for line in claim.published:
        if (line.dataset or next(iter(corpora))) == corpus:
            yield row_of(claim, line, corpora[corpus], splits[line.split])


def row_of(claim: Claim, line: Published, corpus: ClaimedCorpus, split: SplitRule) -> dict[str, Any]:
    """The row of one published line."""
    utterances = corpus.subsets.get(line.subset) or ()
    row: dict[str, Any] = {
        "model": claim.model(line.model).called or line.model,
        "corpus": corpus.dataset,
        "label_set": corpus.labels or "",
        "subset": line.subset,
        "protocol": "/".join(part for part in (claim.name, line.split, line.variant) if part),
        "board": "replication",
        "ranked": False,
        "unranked_reason": REASON,
        **{f"published_{s}{sd}": at(line, s, k) for s in SCORES for k, sd in enumerate(("", "_sd"))},
        "source": f"{line.source}, {claim.sources[0].split()[0]}",
        "differs": "; ".join([*claim.differs, *split.differs]),
        "n_utt_expected": utterances[-1] if utterances else None,
        "n_folds": split.folds or None,
        "selection_on": {"best on test": "test", "best on validation": "val", "last": "none"}[split.epoch],
        "paper": claim.paper,
    }
    row["row_id"] = hashlib.sha256(json.dumps(row).encode()).hexdigest()[:10]
    return row


def at(line: Published, score: str, which: int) -> float | None:
    """The published mean (0) or SD (1) of a score, if there is one."""
    said = getattr(line, score)
    return float(said[which]) if len(said) > which else None
