"""Croissant 1.1 metadata of a corpus (JSON-LD, https://mlcommons.org/croissant/1.1), with its manifest but no audio."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from typing import Any

from sertbench import corpus_facts
from sertbench.corpus import Archive, Corpus, Manifest

VERSION = "http://mlcommons.org/croissant/1.1"
TERMS = """
    citeAs column conformsTo containedIn dataType equivalentProperty examples extract field fileObject fileProperty
    fileSet format includes isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace
    samplingRate separator source subField transform
"""
FIELDS = {  # column -> type and meaning
    "id": ("sc:Text", "Identity of the utterance within the corpus."),
    "label": ("sc:Text", "Class of the utterance in this label set."),
    "speaker": ("sc:Text", "Who talks."),
    "gender": ("sc:Text", "female or male; empty where it is not known."),
    "session": ("sc:Text", "Recording session; empty where there are none."),
    "text": ("sc:Text", "Identity of the sentence or script: equal texts are equal; empty where it is not known."),
    "seconds": ("sc:Float", "Length of the audio."),
    "sha256": ("sc:Text", "SHA-256 of the sample rate and the decoded samples, not of the file."),
}
CC = re.compile(r"CC (BY(?:-NC)?(?:-SA|-ND)?) (\d\.\d)")
URL = re.compile(r"https?://[^\s,;`]+")
TYPES = {".zip": "application/zip", ".gz": "application/gzip", ".tar": "application/x-tar"}


def metadata(name: str, corpus: Corpus, rows: bytes = b"", file_name: str = "", label_set: str = "") -> dict[str, Any]:
    """The JSON-LD of a corpus. `rows` is the CSV of `table`, to be published as `file_name` beside it; empty: none."""
    parts = corpus_facts.cited(corpus)
    page = URL.search(corpus.access)
    made: dict[str, Any] = {
        "@context": context(),
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": name,
        "description": corpus_facts.description(corpus),
        "license": licence(corpus),
        "url": page[0].rstrip(".").removesuffix(".git") if page else "",
        "creator": [{"@type": "sc:Person", "name": author} for author in parts.authors] if parts else [],
        "datePublished": parts.year if parts else "",
        "citeAs": corpus_facts.bibtex(name, corpus) or corpus.citation,
        "inLanguage": corpus.language.split(", "),
        "keywords": ["speech emotion recognition", *dict.fromkeys(corpus.labels.values())],
        "isAccessibleForFree": "" if corpus.tabular else corpus.release == "free",
        "version": "1.0.0",
        "distribution": [file_object(a) for a in corpus.archives if not a.checksum.startswith("git:")],
    }
    if rows:
        made["distribution"].append(
            {
                "@type": "cr:FileObject",
                "@id": "manifest",
                "name": file_name,
                "description": "One row per utterance; no audio.",
                "contentUrl": file_name,
                "contentSize": f"{len(rows)} B",
                "encodingFormat": "text/csv",
                "sha256": hashlib.sha256(rows).hexdigest(),
            }
        )
        made["recordSet"] = [record_set(label_set)]
    return {key: value for key, value in made.items() if value != "" and value != []}


def context() -> dict[str, Any]:
    """The JSON-LD context that the specification recommends (appendix 1), of the terms of version 1.0."""
    names: dict[str, Any] = {term: f"cr:{term}" for term in TERMS.split()}
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        **names,
        "cr": "http://mlcommons.org/croissant/",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "dct": "http://purl.org/dc/terms/",
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "rai": "http://mlcommons.org/croissant/RAI/",
        "sc": "https://schema.org/",
    }


def licence(corpus: Corpus) -> str:
    """The address of a Creative Commons licence; the adapter's words for any other."""
    found = CC.fullmatch(corpus_facts.licence_name(corpus))
    return f"https://creativecommons.org/licenses/{found[1].lower()}/{found[2]}/" if found else corpus.licence


def file_object(archive: Archive) -> dict[str, str]:
    """An archive of the publisher's."""
    kind, _, checksum = archive.checksum.partition(":")
    ending = "." + archive.name.rpartition(".")[2]
    return {
        "@type": "cr:FileObject",
        "@id": archive.name,
        "name": archive.name,
        "description": "The corpus as its publisher offers it.",
        "contentUrl": archive.url,
        "contentSize": f"{archive.size} B",
        "encodingFormat": TYPES.get(ending, "application/octet-stream"),
        kind: checksum,
    }


def record_set(label_set: str) -> dict[str, Any]:
    """The utterances, as columns of the CSV file."""
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"utterances/{column}",
            "name": column,
            "description": text,
            "dataType": kind,
            "source": {"fileObject": {"@id": "manifest"}, "extract": {"column": column}},
        }
        for column, (kind, text) in FIELDS.items()
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "utterances",
        "name": "utterances",
        "description": f"The utterances of the label set {label_set}.",
        "key": {"@id": "utterances/id"},
        "field": fields,
    }


def table(manifest: Manifest) -> bytes:
    """The manifest as CSV (UTF-8), one row per utterance with the columns of `FIELDS`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    facts = zip(manifest.utterances, manifest.targets, manifest.seconds, manifest.audio_sha256, strict=True)
    for u, target, seconds, sha256 in facts:
        known = (u.speaker, u.gender or "", u.session or "", u.text or "")
        writer.writerow((u.id, manifest.classes[target], *known, f"{seconds:.6f}", sha256))
    return text.getvalue().encode()


def text_of(made: dict[str, Any]) -> str:
    """The metadata as it is written."""
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"
