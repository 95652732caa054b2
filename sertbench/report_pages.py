"""What each kind of page shows: values for the templates, from the view and the bundles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sertbench import gate, report_audit, report_stress, svg
from sertbench.board_rows import BOARDS
from sertbench.claim import SCORES
from sertbench.report_charts import model_charts, optimism_values
from sertbench.report_view import COSTS, CorpusView, Entry, Table, View, costs, matrix, shown
from sertbench.run_details import details

BOARD_NAMES = {"replication": "Replications of published protocols, not ranked",
               "diagnostic": "Diagnostics: models that do not listen to emotion, and controls"}  # fmt: skip
FLAGS = {
    "speaker_independent": "Speaker-independent", "text_independent": "Text-independent",
    "session_independent": "Session-independent", "val_speaker_overlap": "Validation speakers in training",
    "val_is_test": "Validation is test",
}  # fmt: skip
BOARD_COLUMNS = (
    ("rank", "Rank", "Equal ranks: not told apart"),
    ("model", "Model", "Model"),
    ("uar_pooled_mean", "UAR", "Unweighted average recall, percent, mean over seeds"),
    ("interval", "95 % interval", "Over speakers and seeds; dashed: guessing"),
    ("uar_pooled_seed_sd", "Seed SD", "Standard deviation of the UAR over seeds"),
    ("wa", "WA", "Weighted accuracy: share of utterances"),
    ("macro_f1", "Macro F1", "Mean of the classes' F1"),
    ("weighted_f1", "Wtd F1", "F1 weighted by class counts"),
    ("worst_speaker_uar", "Worst speaker", "UAR of the worst speaker"),
    ("val_test_gap", "Val − test", "Validation UAR minus test UAR, mean over folds"),
    ("n_params", "Params", "Trainable numbers"),
    ("train_seconds_per_fit", "Train s", "Seconds per fit"),
    ("predict_rtf", "Latency", "Seconds to predict one second of speech"),
    ("hpo_trials", "Trials", "Optuna trials per fold"),
    ("n_seeds", "Seeds", "Seeds per fold; rows of fewer than five are provisional"),
)


def index_values(view: View) -> dict[str, Any]:
    """What the first page shows."""
    entries, diagram = view.entries, None
    if view.comparison is not None:
        names, found = view.comparison
        words = ", ".join(f"{n} {r:.2f}" for n, r in zip(names, found.mean_ranks, strict=True))
        diagram = svg.critical_difference(
            "Critical-difference diagram", f"Mean ranks: {words}", names, found.mean_ranks, found.cliques
        )
    choices = {
        "corpus": ("Corpus", {c.name for c in view.corpora if c.tables}),
        "protocol": ("Protocol", {e.row["protocol"] for e in entries}),
        "family": ("Family", {e.row["model_family"] for e in entries}),
        "budget": ("Budget", {e.budget for e in entries}),
    }
    return {
        "view": view,
        "ran": sum(bool(c.tables) for c in view.corpora),
        "quoting": [c for c in view.corpora if c.quoted],
        "synthetic": sorted({e.row["corpus"] for e in entries if e.synthetic}),
        "filters": [(name, label, sorted(values)) for name, (label, values) in choices.items()],
        "matrix": matrix(view.tables),
        "columns": BOARD_COLUMNS,
        "boards": BOARDS,
        "board_names": BOARD_NAMES,
        "optimism": optimism_values(view.measured),
        "cd_chart": diagram,
    }


def corpus_values(corpus: CorpusView) -> dict[str, Any]:
    """What a corpus's page shows."""
    tables = []
    for table in corpus.tables:
        drawn, undrawn = [], []
        for name, label in COSTS.items():
            points, without = costs(table, name)
            if points:
                words = f"{len(points)} models of {table.name}"
                drawn.append((label, svg.pareto(f"UAR against {label}", words, label, points), points, without))
            elif without:
                undrawn.append((label, without))
        folder = next((e.folder for e in table.entries if e.folder), None)
        audit = audit_of(folder) if folder else None
        tables.append(
            {"table": table, "costs": drawn, "undrawn": undrawn, "diagnostics": table.board("diagnostic"),
             "audit": audit}
        )  # fmt: skip
    facts = [("", "Papers quoted", f"{len(corpus.quoted)} figures")] if corpus.quoted else []
    if corpus.tables:
        row = corpus.tables[0].first
        facts += [
            ("licence", "Licence", row["licence"]),
            ("", "Tables", ", ".join(t.name for t in corpus.tables)),
            ("corpus_manifest_sha256", "Manifest (SHA-256)", row["corpus_manifest_sha256"]),
        ]
    audits = [report_audit.values(audit) for audit in corpus.audits]
    return {"corpus": corpus, "tables": tables, "facts": facts, "audits": audits, "scores": SCORES}


def audit_of(folder: Path) -> dict[str, Any]:
    """Fold sizes, flags, and what roles share, the worst fold of each kind: from one bundle of a table."""
    found = details(folder)
    corpus, protocol = found.run["corpus"], found.run["protocol"]
    worst: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for overlap in protocol["overlaps"]:
        key = (overlap["key"], *overlap["roles"])
        if key not in worst or overlap["shared"] > worst[key]["shared"]:
            worst[key] = overlap
    flags = [("", FLAGS.get(name, name), gate.flag_in_words(name, on, protocol["overlaps"]))
             for name, on in protocol["flags"].items()]  # fmt: skip
    counts = [("", "Utterances tested", f"{corpus['n_tested']} of {corpus['n_utterances']}"),
              ("", "Speakers tested", len(found.speakers)), ("", "Classes", ", ".join(corpus["classes"]))]  # fmt: skip
    return {"flags": counts + flags, "sizes": found.sizes, "overlaps": list(worst.values())}


def model_values(view: View, corpus: CorpusView, table: Table, entry: Entry) -> dict[str, Any]:
    """What a run's page shows."""
    assert entry.folder is not None
    row, found = entry.row, details(entry.folder)
    run = found.run
    others = [(e, t.name) for t in view.tables for e in t.entries
              if e.row["model"] == row["model"] and e is not entry and e.page]  # fmt: skip
    return {
        "view": view, "corpus": corpus, "table": table, "entry": entry, "details": found, "others": others,
        "confusion": confusion_cells(found.confusion), "chosen": chosen(run),
        "figures": list(figure_facts(row)), "provenance": list(provenance(row, run)),
        "recipe": [("", name, words(value)) for name, value in run["model"]["recipe"].items()],
        "optimism": optimism_values([entry] if entry in view.measured else []),
        **model_charts(found, table.chance),
        **report_stress.values(entry, table.chance),
    }  # fmt: skip


def confusion_cells(counts: Any) -> list[list[tuple[str | None, str, int]]]:
    """Per cell: percent of the true class, utterances, and the shade; no percent for a class that was never tested."""
    lines = []
    for line in counts:
        total = float(line.sum())
        shares = [float(n) / total if total else 0.0 for n in line]
        lines.append(
            [(f"{100 * s:.1f}" if total else None, f"{n:g}" if n == round(n) else f"{n:.1f}", min(8, int(9 * s)))
             for s, n in zip(shares, line, strict=True)]
        )  # fmt: skip
    return lines


def chosen(run: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[str], str]]] | None:
    """The hyperparameters that each fold chose, as a table; None if nothing was tuned."""
    names = list(dict.fromkeys(name for f in run["frozen"] for name in f["choice"]))
    if not names:
        return None
    lines = [
        (f["fold"], [words(f["choice"].get(n, "–")) for n in names], ", ".join(map(str, f["epochs"].values())))
        for f in run["frozen"]
    ]
    return names, lines


FIGURES = {
    "uar_pooled_seed_sd": "Seed SD", "wa": "WA (accuracy)", "macro_f1": "Macro F1", "weighted_f1": "Weighted F1",
    "uar_foldmean": "UAR, mean over folds", "uar_fold_sd": "Fold SD", "worst_speaker_uar": "Worst speaker",
    "val_uar": "Validation UAR", "val_test_gap": "Validation − test",
}  # fmt: skip
PROVENANCE = {
    "paper": "Paper", "model_family": "Family", "n_params": "Parameters", "train_seconds_per_fit": "Seconds per fit",
    "predict_rtf": "Seconds per second of speech", "device": "Device", "precision": "Precision", "n_seeds": "Seeds",
    "hpo_trials": "Trials per fold", "hpo_scope": "Tuning", "n_utt_scored": "Utterances scored", "row_id": "Row",
    "date_utc": "Date (UTC)", "sertbench_version": "sertbench", "git_sha": "Commit", "dirty": "Uncommitted changes",
    "python": "Python", "torch": "PyTorch", "protocol_sha256": "Split (SHA-256)",
    "model_code_sha256": "Model code (SHA-256)", "predictions_sha256": "Predictions (SHA-256)",
    "corpus_manifest_sha256": "Corpus manifest (SHA-256)",
}  # fmt: skip


def figure_facts(row: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """The key figures of a row: column, words, and the cell as it stands in the CSV."""
    names = dict(FIGURES)
    names |= {n: f"Recall of {n.removeprefix('recall_')}" for n in row if n.startswith("recall_") and row[n]}
    names |= {n: f"UAR, {n.removeprefix('uar_style_')}" for n in row if n.startswith("uar_style_") and row[n]}
    for name, label in names.items():
        yield name, label, shown(name, row[name])


def provenance(row: Mapping[str, str], run: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Where the row comes from: column, words, cell."""
    for name, label in PROVENANCE.items():
        yield name, label, shown(name, row.get(name))
    yield "", "Test part read", f"{len(run['test_reads'])} times, once per fold and seed, after freezing"


def words(value: object) -> str:
    """A setting as text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {words(v)}" for k, v in value.items() if v is not None)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(words, value))
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
