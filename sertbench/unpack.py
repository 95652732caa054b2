"""Unpack a zip or tar file into a new folder, and tell what came out by the id that git gives to such a tree."""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from sertbench.errors import StorageError, few


def unpack(archive: Path, folder: Path) -> None:
    """Unpack into `folder`, which is made. Raises StorageError for a broken archive and for members outside of it.

    Names are checked before anything is written; links, devices and the like of a tar file are refused by Python's
    "data" filter.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                inside_only(archive, packed.namelist())
                folder.mkdir(parents=True)
                packed.extractall(folder)
        elif tarfile.is_tarfile(archive):
            if not hasattr(tarfile, "data_filter"):
                raise StorageError(f"{archive}: unpacking a tar file safely needs Python 3.11.4 or newer.")
            with tarfile.open(archive) as tar:
                inside_only(archive, tar.getnames())
                folder.mkdir(parents=True)
                tar.extractall(folder, filter="data")
        else:
            raise StorageError(f"{archive} is neither a zip nor a tar file. Delete it and type the same command again.")
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as error:
        raise StorageError(
            f"{archive} cannot be unpacked: {error}. Delete it and type the same command again."
        ) from error
    except OSError as error:
        raise StorageError(
            f"{archive} cannot be unpacked: {error.strerror or error}. Mend that and type the same command again; "
            "nothing has to be downloaded twice."
        ) from error


def inside_only(archive: Path, names: list[str]) -> None:
    """Refuse an archive with a member that would be written outside of the folder."""
    bad = [name for name in names if escapes(name)]
    if bad:
        raise StorageError(
            f"{archive} holds {len(bad)} names that lead out of the folder it is unpacked in: {few(bad, 3)}. "
            "No honest archive does; nothing was unpacked."
        )


def escapes(name: str) -> bool:
    """Whether a member's name leads elsewhere: absolute, a drive, or upwards."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(path.parts and path.parts[0].endswith(":"))


def unpack_nested(folder: Path) -> None:
    """Unpack every archive that lies in `folder`, each beside itself, and remove it."""
    endings = (".zip", ".tar", ".tar.gz", ".tgz")
    found = sorted(p for p in folder.rglob("*") if p.name.lower().endswith(endings) and not p.name.startswith("."))
    for archive in found:
        fresh = archive.with_name(archive.name + ".unpacked")
        unpack(archive, fresh)
        archive.unlink()
        merge(fresh, archive.parent)


def merge(source: Path, target: Path) -> None:
    """Move what is in `source` into `target`. Raises StorageError if something of that name is there already."""
    target.mkdir(parents=True, exist_ok=True)
    for item in sorted(source.iterdir()):
        place = target / item.name
        if item.is_dir() and place.is_dir():
            merge(item, place)
        elif place.exists():
            raise StorageError(f"{place} is in two of the archives: sertbench does not choose. Unpack them by hand.")
        else:
            item.rename(place)
    source.rmdir()


def tree_id(folder: Path) -> str:
    """The id of a folder as a git tree (SHA-1), with every file taken as a plain one (mode 100644).

    Two folders have the same id only if all names and all bytes in them are the same.
    """
    return _tree(folder).hex()


def _tree(folder: Path) -> bytes:
    entries = []
    for item in folder.iterdir():
        if item.is_symlink():
            raise StorageError(f"{item} is a link: a corpus has none")
        name = item.name.encode()
        if item.is_dir():
            entries.append((name + b"/", b"40000 " + name + b"\0" + _tree(item)))
        else:
            entries.append((name, b"100644 " + name + b"\0" + _blob(item)))
    body = b"".join(entry for _, entry in sorted(entries))
    return hashlib.sha1(b"tree %d\0" % len(body) + body, usedforsecurity=False).digest()


def _blob(file: Path) -> bytes:
    digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as opened:
        while piece := opened.read(1 << 20):
            digest.update(piece)
    return digest.digest()
