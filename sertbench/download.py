"""`sertbench download`: a corpus that its publisher offers to all, from the archives of its adapter to a folder.

Everything is made in `<folder>.download`, beside the corpus, and renamed in the end: the folder is either absent or
whole. A download that was stopped goes on when the command is typed again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sertbench import fetch, files, lfs, unpack
from sertbench.corpus import Archive, Corpus
from sertbench.corpus_facts import licence_name
from sertbench.corpus_files import expanded
from sertbench.errors import ConfigError, CorpusError, StorageError
from sertbench.selection import select

ROOM = 2.5  # disk needed per byte to download: the archive, what is in it (speech packs to half at best), some air


@dataclass(frozen=True)
class Download:
    """What is to be got, from where and whereto."""

    name: str
    corpus: Corpus
    folder: Path  # where the corpus will lie

    @property
    def archives(self) -> tuple[Archive, ...]:
        """The archives of the adapter."""
        return self.corpus.archives

    @property
    def workshop(self) -> Path:
        """Where archives arrive and are unpacked."""
        return self.folder.with_name(self.folder.name + ".download")

    @property
    def size(self) -> int:
        """Bytes of all archives."""
        return sum(archive.size for archive in self.archives)

    @property
    def arrived(self) -> int:
        """Bytes that an earlier attempt has left; what it had begun to unpack does not count."""
        parts = [path for path in self.workshop.glob("*") if path.is_file()]
        parts += [path for path in self.workshop.glob("*.lfs/**/*") if path.is_file()]
        return sum(fetch.size(file) for file in parts)

    @property
    def free(self) -> int:
        """Bytes free on the disk where the corpus will lie."""
        place = self.folder.absolute()
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free

    @property
    def needed(self) -> int:
        """Bytes that must be free: for what is still to come and for unpacking."""
        return max(0, int(sum(a.size * (ROOM + a.nested) for a in self.archives)) - self.arrived)


def plan(name: str, corpus: Corpus, parent: Path) -> Download:
    """What `get` is going to do. Raises CorpusError for a corpus that is not to be had this way: where to ask."""
    if not corpus.archives:
        raise CorpusError(f"{name} is not to be had by a program. {by_hand(name, corpus)}")
    return Download(name, corpus, expanded(parent, "--data") / name)


def by_hand(name: str, corpus: Corpus) -> str:
    """How to get a corpus that sertbench does not download."""
    reason = (
        "It is your own."
        if corpus.tabular
        else {
            "free": "sertbench knows no address of it with a published checksum.",
            "form": "Its publisher wants to know who uses it.",
            "request": "Its owner decides who gets it.",
        }[corpus.release]
    )
    return (
        f"{reason}\n  to get it: {corpus.access}\n  licence: {corpus.licence}\n  must contain: {corpus.layout}\n"
        f"  then: sertbench audit {name} --data PATH"
    )


def present(download: Download) -> int | None:
    """How many utterances of the corpus lie in its folder; None if there is no folder.

    Raises CorpusError for a folder that holds something else, or an incomplete copy.
    """
    folder = download.folder
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        return count(download)
    except CorpusError as error:
        raise CorpusError(
            f"{folder} is there already: {error}\n  To download {download.name} anew, move {folder} out of the way, "
            "or give another folder with --data."
        ) from error


def count(download: Download) -> int:
    """How many utterances the default label set finds. Raises CorpusError if they are not the published ones."""
    corpus = download.corpus
    return len(select(corpus, download.name, download.folder, corpus.label_set(None), "all"))


def accepts(download: Download, licence: str) -> None:
    """Raises ConfigError unless `licence` is the name of the corpus's licence."""
    known = licence_name(download.corpus)
    if licence.strip().casefold() not in (known.casefold(), download.corpus.licence.casefold()):
        raise ConfigError(
            f"--accept-licence {licence!r} is not the licence of {download.name}. Read it, then type "
            f"--accept-licence {known!r}"
        )


def check_room(download: Download) -> None:
    """Raises StorageError if the disk is too full."""
    if download.free < download.needed:
        raise StorageError(
            f"{download.folder}: {gigabytes(download.needed)} are needed to download and unpack {download.name}, "
            f"{gigabytes(download.free)} are free there. Make room, or give another disk with --data."
        )


def gigabytes(n: int) -> str:
    """A size in words.

    >>> gigabytes(1_664_512_929), gigabytes(39_981_818)
    ('1.66 GB', '40.0 MB')
    """
    return f"{n / 1e9:.2f} GB" if n >= 1e9 else f"{n / 1e6:.1f} MB"


def get(
    download: Download,
    say: Callable[[str], None] = fetch.quiet,
    on_progress: Callable[[Archive, int, int], None] = fetch.quiet,
) -> None:
    """Download, check, unpack and put in place. Raises StorageError, with what to do; what has arrived is kept."""
    check_room(download)
    workshop = download.workshop
    try:
        workshop.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{workshop} cannot be made: {error.strerror or error}") from error
    busy = f"{workshop}: another download of {download.name} is at work there. Wait for it."
    with files.locked(workshop / "lock", 0, busy):
        work(download, say, on_progress)
    shutil.rmtree(workshop)
    say(f"{download.name} lies in {download.folder}; the archives are removed")


def work(download: Download, say: Callable[[str], None], on_progress: Callable[[Archive, int, int], None]) -> None:
    """`get` without its checks."""
    workshop = download.workshop
    fresh = workshop / "unpacked"
    for left in (fresh, workshop / "archive"):  # half unpacked when it was stopped
        shutil.rmtree(left, ignore_errors=True)
    for archive in download.archives:
        fetch.fetch(archive.url, workshop / archive.name, archive.checksum, say, partial(on_progress, archive))
        say(f"{archive.name}: arrived" + ("" if archive.checksum.startswith("git:") else ", checksum as published"))
    for archive in download.archives:
        say(f"{archive.name}: unpacking")
        opened(archive, workshop, fresh, say, partial(on_progress, archive))
    place(download, fresh)


def opened(archive: Archive, workshop: Path, fresh: Path, say: fetch.Say, on_progress: fetch.Progress) -> None:
    """Unpack one archive and add what is in it to `fresh`."""
    whole = workshop / "archive"
    if not archive.packed:
        fresh.mkdir(exist_ok=True)
        shutil.copy2(workshop / archive.name, fresh)
        return
    unpack.unpack(workshop / archive.name, whole)
    found = whole / archive.inside
    if not found.is_dir():
        raise StorageError(
            f"{workshop / archive.name} holds no folder {archive.inside!r}: it is not the published one."
        )
    kind, _, known = archive.checksum.partition(":")
    if kind == "git" and (tree := unpack.tree_id(found)) != known:
        raise StorageError(
            f"{workshop / archive.name} (from {archive.url}) does not hold the published files: as a git tree it is "
            f"{tree} instead of {known}. Delete it and type the same command to download it again."
        )
    if archive.lfs:
        lfs.resolve(found, archive.lfs, workshop / f"{archive.name}.lfs", say, on_progress)
    if archive.nested:
        unpack.unpack_nested(found)
    unpack.merge(found, fresh)
    shutil.rmtree(whole, ignore_errors=True)


def place(download: Download, fresh: Path) -> None:
    """Give the unpacked corpus its name, in one step."""
    try:
        if download.folder.exists():
            download.folder.rmdir()  # empty, or `present` would have found something
        fresh.rename(download.folder)
    except OSError as error:
        raise StorageError(f"{download.folder} cannot be made: {error.strerror}. The corpus is in {fresh}.") from error
