"""Get one file over HTTP so that a broken or killed download goes on where it was; checksums are pooch's."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pooch
import requests

from sertbench.errors import StorageError

CHUNK = 1 << 16  # bytes; what a broken connection loses at most
TIMEOUT = (15, 60)  # seconds: to connect, and between two pieces
TRIES = 4  #          connections in a row that bring nothing; after one that brings something the count starts again
HASHES = ("md5", "sha256")
PAUSE = 2.0  #        seconds before the second try, doubled for each further one
Say = Callable[[str], None]
Progress = Callable[[int, int], None]  # bytes that are there, bytes of the whole (0: the server does not say)


def quiet(*_: object) -> None:
    """Says nothing."""


def fetch(url: str, file: Path, checksum: str, say: Say = quiet, on_progress: Progress = quiet) -> None:
    """Download `url` to `file` unless it is there; until it is whole and has its checksum it is `<file>.part`.

    `checksum` is "md5:..." or "sha256:..."; any other kind is not checked here. Raises StorageError for whatever the
    network, the server or the disk refuses, and for a wrong checksum; what has arrived is kept in each case.
    """
    with requests.Session() as session:
        fetch_with(session, url, file, checksum, say, on_progress)


def fetch_with(
    session: requests.Session, url: str, file: Path, checksum: str, say: Say = quiet, on_progress: Progress = quiet
) -> None:
    """`fetch` over a connection that is kept for the next file."""
    if file.exists():
        return
    part = file.with_name(file.name + ".part")
    if whole(part, checksum):
        part.rename(file)
        return
    tries = 0
    while True:
        before = size(part)
        try:
            transfer(session, url, part, say, on_progress)
            break
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            tries = 1 if size(part) > before else tries + 1
            if tries == TRIES:
                raise StorageError(f"{url}: {cause(error)}. {kept(part)}") from error
            pause = PAUSE * 2 ** (tries - 1)
            say(f"{file.name}: {cause(error)}; trying again in {pause:.0f} s")
            time.sleep(pause)
        except requests.RequestException as error:
            raise StorageError(f"{url}: {cause(error)}. {kept(part)}") from error
        except OSError as error:
            raise StorageError(f"{part} cannot be written: {error.strerror or error}. {kept(part)}") from error
    check(url, part, checksum)
    part.rename(file)


def transfer(session: requests.Session, url: str, part: Path, say: Say, on_progress: Progress) -> None:
    """One connection: append to `part` what is missing, or write it anew if the server cannot start in the middle."""
    have = size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # nothing is left to send: the file was whole already, or is another one now
            return
        if answer.status_code >= 500 or answer.status_code == 429:
            raise requests.ConnectionError(f"the server answers {answer.status_code} {answer.reason}")
        if not answer.ok:
            raise StorageError(
                f"{url}: the server answers {answer.status_code} {answer.reason}. The file may have moved. {kept(part)}"
            )
        goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if have:
            how = "going on from there" if goes_on else "but the server only sends the whole: starting again"
            say(f"{part.name}: {have / 1e6:.1f} MB are there, {how}")
        done = have if goes_on else 0
        length = int(answer.headers.get("Content-Length", 0))
        total = done + length if length else 0
        with part.open("ab" if goes_on else "wb") as out:
            for piece in answer.iter_content(CHUNK):
                out.write(piece)
                done += len(piece)
                on_progress(done, total)
        if total and done != total:
            raise requests.ConnectionError(f"the connection ended after {done} of {total} bytes")


def check(url: str, part: Path, checksum: str) -> None:
    """Raises StorageError if a file is not the published one."""
    kind, _, known = checksum.partition(":")
    if kind in HASHES and (found := pooch.file_hash(str(part), alg=kind)) != known:
        raise StorageError(
            f"{part} ({size(part)} bytes, from {url}) is not the published file: its {kind} is {found} instead of "
            f"{known}. It was damaged on the way, or the publisher has changed it. It is kept for you to look at; "
            "delete it and type the same command to download it again."
        )


def whole(part: Path, checksum: str) -> bool:
    """Whether a file that an earlier attempt has left is all there."""
    kind, _, known = checksum.partition(":")
    return kind in HASHES and size(part) > 0 and pooch.file_hash(str(part), alg=kind) == known


def size(file: Path) -> int:
    """How many bytes a file has; 0 if there is none."""
    return file.stat().st_size if file.exists() else 0


def kept(part: Path) -> str:
    """What is to be said of a download that stopped."""
    if not size(part):
        return "Nothing has arrived yet: type the same command to try again."
    return f"{size(part) / 1e6:.1f} MB are kept in {part}: type the same command to go on from there."


def cause(error: Exception) -> str:
    """An error of requests in a few words: its own texts nest three libraries'."""
    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    text = str(error)
    for sign, words in (
        ("Connection refused", "the connection was refused"),
        ("NameResolutionError", "the host is not found (no network?)"),
        ("Name or service not known", "the host is not found (no network?)"),
        ("IncompleteRead", "the connection broke"),
        ("Connection aborted", "the connection broke"),
        ("Connection broken", "the connection broke"),
        ("SSLError", "no secure connection"),
        ("ProxyError", "the proxy refuses"),
    ):
        if sign in text:
            return words
    return text
