"""`sertbench download`, against a server on this machine: whatever happens, the corpus is whole or not there at all."""

from __future__ import annotations

import errno
import hashlib
import io
import re
import shutil
import tarfile
import threading
import zipfile
from collections import namedtuple
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from sertbench import cli, fetch, plugins, unpack
from sertbench.errors import StorageError

ADAPTER = '''
"""mini."""
from sertbench.corpus import Archive, Corpus, LabelSet, Utterance, wav_files
from sertbench.protocol_rules import RANDOM10

class Mini(Corpus):
    """mini: two utterances of two speakers."""

    citation = "A. Nobody: Two sounds. Nowhere, 2026"
    licence = "CC BY 4.0; for the tests"
    access = "Download it from the tests' own server."
    language = "none"
    layout = "two files such as a-happy.wav"
    labels = {"happy": "happy", "sad": "sad"}
    label_sets = (LabelSet("2class", labels, counts={"happy": 1, "sad": 1}),)
    protocols = (RANDOM10,)
    archives = (%s,)

    def utterances(self, root):
        for path in wav_files(root):
            yield Utterance(path.stem, path, path.stem.split("-")[1], path.stem.split("-")[0])
'''
SOUNDS = {"wav/a-happy.wav": b"RIFF" + bytes(300_000), "wav/b-sad.wav": b"RIFF" + b"\1" * 300_000}


def zipped(files: dict[str, bytes]) -> bytes:
    """The same bytes whenever it is asked for: an archive would else hold the time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


def tarred(files: dict[str, bytes], link: str = "") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if link:
            member = tarfile.TarInfo("wav/link")
            member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member)
    return packed.getvalue()


@dataclass
class Site:
    """What the server does, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True  #    it can start in the middle
    breaks: list[int] = field(default_factory=list)  # after how many bytes it hangs up, answer by answer
    refuses: list[int] = field(default_factory=list)  # status of the next answers
    asked: list[str] = field(default_factory=list)  # the Range header of each request, or ""


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self):
        site = self.site
        site.asked.append(self.headers.get("Range", ""))
        if site.refuses:
            return self.send_error(site.refuses.pop(0))
        content = site.files.get(self.path.strip("/"))
        if content is None:
            return self.send_error(404)
        start = int(site.asked[-1][6:-1]) if site.asked[-1] and site.ranges else 0
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + site.breaks.pop(0) if site.breaks else len(content)
        self.wfile.write(content[start:end])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    made = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"site": made}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def archive(site: Site, name: str, content: bytes, checksum: str = "", more: str = "") -> str:
    """Put a file on the site; gives the line of an adapter that describes it."""
    site.files[name] = content
    checksum = checksum or f"sha256:{hashlib.sha256(content).hexdigest()}"
    return f"Archive({site.url + '/' + name!r}, {name!r}, {checksum!r}, size={len(content)}{more})"


@pytest.fixture
def get(site, tmp_path, capsys):
    """Run the command for a corpus of these archives: gives its status and all that it printed."""

    def run(*archives: str, flags: tuple[str, ...] = ("--yes",)) -> tuple[int, str]:
        adapter = tmp_path / "mini.py"
        adapter.write_text(ADAPTER % ", ".join(archives or [archive(site, "mini.zip", zipped(SOUNDS))]))
        status = cli.main(["download", str(adapter), "--data", str(tmp_path / "corpora"), *flags])
        return status, "".join(capsys.readouterr())

    return run


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "corpora" / "mini"


def read(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- the good case


def test_a_corpus_is_downloaded_checked_unpacked_and_ready(get, folder):
    status, said = get()

    assert status == 0
    assert read(folder) == SOUNDS
    assert list(folder.parent.iterdir()) == [folder], "nothing is left beside it"
    for words in (
        "mini: two utterances",
        "A. Nobody: Two sounds",
        "CC BY 4.0; for the tests",
        "checksum as published",
        "2 utterances, names and counts as published",
        f"sertbench audit mini --data {folder}",
        f"sertbench run --model glam --dataset mini --data {folder}",
    ):
        assert words in said


def test_a_corpus_that_is_there_is_not_downloaded_again(get, site, folder):
    get()
    before = len(site.asked)

    status, said = get()

    assert (status, len(site.asked)) == (0, before)
    assert f"{folder} holds mini already: 2 utterances" in said


def test_an_empty_folder_is_no_obstacle(get, folder):
    folder.mkdir(parents=True)

    assert get()[0] == 0
    assert read(folder) == SOUNDS


def test_a_tar_file_and_a_folder_within_it(get, site, folder):
    content = tarred({f"Repo-1/Sounds/{name}": data for name, data in SOUNDS.items()} | {"Repo-1/README": b"no"})

    status, _ = get(archive(site, "m.tar.gz", content, more=", inside='Repo-1/Sounds'"))

    assert status == 0
    assert read(folder) == SOUNDS


def test_several_archives_become_one_corpus(get, site, folder):
    one, two = ({name: data} for name, data in SOUNDS.items())

    status, _ = get(archive(site, "one.zip", zipped(one)), archive(site, "two.zip", zipped(two)))

    assert status == 0
    assert read(folder) == SOUNDS


def test_archives_within_the_archive_are_unpacked_too(get, site, folder):
    outer = zipped({"M/inner.tar.gz": tarred(SOUNDS), "M/table.csv": b"1", "M/._inner.tar.gz": b"Mac OS X"})

    status, _ = get(archive(site, "m.zip", outer, more=", inside='M', nested=True"))

    assert status == 0
    assert read(folder) == SOUNDS | {"table.csv": b"1", "._inner.tar.gz": b"Mac OS X"}


def test_data_folder_of_the_environment_is_the_default(get, site, tmp_path, monkeypatch, capsys):
    get(flags=("--accept-licence", "nonsense"))  # writes the adapter
    monkeypatch.setenv("SERTBENCH_DATA", str(tmp_path / "shelf"))

    assert cli.main(["download", str(tmp_path / "mini.py"), "--yes"]) == 0
    assert read(tmp_path / "shelf" / "mini") == SOUNDS


# --- what breaks on the way


def test_a_download_that_was_killed_goes_on_where_it_was(get, site, folder):
    content = zipped(SOUNDS)
    part = folder.with_name("mini.download") / "mini.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[:100_000])
    (part.parent / "unpacked" / "wav").mkdir(parents=True)  # and one that was killed while unpacking
    (part.parent / "unpacked" / "wav" / "half.wav").write_bytes(b"RI")

    status, said = get()

    assert status == 0
    assert site.asked == ["bytes=100000-"]
    assert "0.1 MB are there, going on from there" in said
    assert read(folder) == SOUNDS


def test_a_file_that_was_whole_already_is_not_asked_for(get, site, folder):
    part = folder.with_name("mini.download") / "mini.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(zipped(SOUNDS))

    assert get()[0] == 0
    assert site.asked == []
    assert read(folder) == SOUNDS


def test_an_interruption_keeps_what_has_arrived(get, site, tmp_path):
    content = zipped(SOUNDS)
    site.files["m.zip"] = content

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.fetch(f"{site.url}/m.zip", tmp_path / "m.zip", "git:", on_progress=interrupt)
    kept = (tmp_path / "m.zip.part").read_bytes()
    fetch.fetch(f"{site.url}/m.zip", tmp_path / "m.zip", "git:")

    assert content.startswith(kept)
    assert site.asked == ["", f"bytes={len(kept)}-"]
    assert (tmp_path / "m.zip").read_bytes() == content


def test_a_server_that_cannot_start_in_the_middle_starts_again(get, site, folder):
    site.ranges = False
    part = folder.with_name("mini.download") / "mini.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 100_000)

    status, said = get()

    assert status == 0
    assert "starting again" in said
    assert read(folder) == SOUNDS


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_is_taken_up_again(get, site, folder, ranges):
    site.ranges = ranges
    site.breaks = [200_000, 350_000] if ranges else [200_000, 350_000, 500_000]

    status, said = get()

    assert status == 0
    assert "the connection broke; trying again" in said
    assert read(folder) == SOUNDS


def test_a_connection_that_never_holds_ends_in_a_sentence(get, site, folder):
    site.breaks = [100_000] + [0] * 50

    status, said = get()

    assert status == 2
    assert re.search(r"the connection broke\. 0\.1 MB are kept in .*mini\.zip\.part: type the same command", said)
    assert not folder.exists()
    site.breaks = []
    assert get()[0] == 0
    assert read(folder) == SOUNDS


@pytest.mark.parametrize("code", [404, 403])
def test_a_file_that_has_moved(get, site, folder, code):
    site.refuses = [code]

    status, said = get()

    assert status == 2
    assert f"the server answers {code}" in said
    assert "may have moved" in said
    assert len(site.asked) == 1, "asking again is no use"
    assert not folder.exists()


@pytest.mark.parametrize("code", [503, 429])
def test_a_busy_server_is_asked_again(get, site, code):
    site.refuses = [code, code]

    assert get()[0] == 0
    assert len(site.asked) == 3


def test_no_server(get, site, folder):
    line = archive(site, "mini.zip", zipped(SOUNDS)).replace(site.url, "http://127.0.0.1:1")

    status, said = get(line)

    assert status == 2
    assert "the connection was refused" in said
    assert "Traceback" not in said
    assert not folder.exists()


def test_a_wrong_checksum_is_told_and_nothing_is_unpacked_or_removed(get, site, folder):
    line = archive(site, "mini.zip", zipped(SOUNDS), "md5:" + "0" * 32)
    for _ in range(2):  # the second time nothing is left to download
        status, said = get(line)

        assert status == 2
        assert re.search(
            r"mini\.zip\.part .* is not the published file: its md5 is [0-9a-f]{32} instead of 0{32}", said
        )
        assert "delete it and type the same command" in said
        assert not folder.exists()
        assert (folder.with_name("mini.download") / "mini.zip.part").stat().st_size == len(zipped(SOUNDS))


def test_a_disk_that_is_too_full_is_found_before_anything_is_asked(get, site, folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 1000, 1000))

    status, said = get()

    assert status == 2
    assert re.search(r"1\.5 MB are needed to download and unpack mini, 0\.0 MB are free", said)
    assert site.asked == []


def test_a_disk_that_gets_full(get, monkeypatch, folder):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", full)
    status, said = get()
    assert status == 2
    assert "cannot be unpacked: No space left on device" in said
    assert not folder.exists()

    monkeypatch.undo()
    monkeypatch.setattr(fetch, "transfer", full)
    shutil.rmtree(folder.with_name("mini.download"))
    status, said = get()
    assert status == 2
    assert "mini.zip.part cannot be written: No space left on device" in said


def test_two_downloads_of_one_corpus_do_not_meet(get, folder):
    workshop = folder.with_name("mini.download")
    workshop.mkdir(parents=True)

    with FileLock(workshop / "lock"):
        status, said = get()

    assert status == 2
    assert "another download of mini is at work" in said


def test_stopping_says_that_nothing_is_lost(get, monkeypatch, folder):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(unpack, "unpack", interrupt)
    status, said = get()
    assert status == 130
    assert f"what has arrived is kept in {folder}.download" in said

    monkeypatch.undo()
    assert get()[0] == 0


# --- what is in the archive


@pytest.mark.parametrize("name", ["../evil.wav", "/tmp/evil.wav", "wav/../../evil.wav", "..\\evil.wav", "C:\\evil.wav"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_names_that_lead_out_of_the_folder_are_refused(get, site, folder, tmp_path, pack, name):
    before = set(tmp_path.rglob("evil*"))

    status, said = get(archive(site, "m.zip", pack(SOUNDS | {name: b"evil"})))

    assert status == 2
    assert "holds 1 names that lead out of the folder" in said
    assert not folder.exists()
    assert set(tmp_path.rglob("*evil*")) == before
    assert not any(p.suffix == ".wav" for p in tmp_path.rglob("*")), "nothing at all was unpacked"


@pytest.mark.parametrize("link", ["/etc/passwd", "../../../secret"])
def test_links_that_lead_out_of_the_folder_are_refused(get, site, folder, link):
    status, said = get(archive(site, "m.tar.gz", tarred(SOUNDS, link)))

    assert status == 2
    assert "cannot be unpacked" in said
    assert not folder.exists()


@pytest.mark.parametrize("content", [b"<html>Please log in</html>", zipped(SOUNDS)[:-100], tarred(SOUNDS)[:-100]])
def test_what_is_no_archive_is_a_sentence(get, site, folder, content):
    status, said = get(archive(site, "m.zip", content))

    assert status == 2
    assert re.search(r"neither a zip nor a tar file|cannot be unpacked", said)
    assert not folder.exists()


def test_one_name_in_two_archives_is_refused(get, site, folder):
    lines = [archive(site, name, zipped(SOUNDS)) for name in ("one.zip", "two.zip")]

    status, said = get(*lines)

    assert status == 2
    assert "is in two of the archives" in said
    assert not folder.exists()


def test_a_corpus_that_is_not_ready_for_use_says_why(get, site, folder):
    status, said = get(archive(site, "m.zip", zipped(dict(list(SOUNDS.items())[:1]))))

    assert status == 0
    assert "it is not ready for use yet: mini, label set '2class'" in said
    assert "1 utterances instead of 2" in said


def test_the_tree_id_is_gits(tmp_path):
    for name, content in {"b/wav/x.wav": b"one\n", "b.c/y": b"two", "a": b""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)

    assert unpack.tree_id(tmp_path) == "e8af5bd15e0987ccad1bf7f8a846355a71dfde3d"  # by `git write-tree`


def test_what_a_host_packs_anew_each_time_is_known_by_its_tree(get, site, folder, tmp_path):
    for name, content in SOUNDS.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    tree = f"git:{unpack.tree_id(tmp_path / 'tree')}"
    other = {f"R-1/{name}": content for name, content in (SOUNDS | {"wav/b-sad.wav": b"RIFF"}).items()}

    status, said = get(archive(site, "m.zip", zipped(other), tree, more=", inside='R-1'"))
    assert status == 2
    assert re.search(r"as a git tree it is [0-9a-f]{40} instead of", said)
    assert not folder.exists()

    (folder.with_name("mini.download") / "m.zip").unlink()
    right = {f"R-1/{name}": content for name, content in SOUNDS.items()}
    assert get(archive(site, "m.zip", zipped(right), tree, more=", inside='R-1'"))[0] == 0
    assert read(folder) == SOUNDS


def test_an_archive_without_its_folder_is_refused(get, site):
    status, said = get(archive(site, "m.zip", zipped(SOUNDS), more=", inside='Repo-1'"))

    assert status == 2
    assert "holds no folder 'Repo-1'" in said


# --- files that stand for others


def pointer(content: bytes) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()


@pytest.fixture
def pointers(site) -> str:
    """An archive of pointers, whose files lie on the site, and a table beside it."""
    site.files |= {f"media/{name}": content for name, content in SOUNDS.items()}
    packed = tarred({f"R-1/{name}": pointer(content) for name, content in SOUNDS.items()} | {"R-1/README": b"hello"})
    line = archive(site, "r.tar.gz", packed, more=f", inside='R-1', lfs={site.url + '/media'!r}")
    return line + ", " + archive(site, "table.csv", b"a,b\n", more=", packed=False")


def test_pointers_are_replaced_by_what_they_stand_for(get, folder, pointers):
    status, said = get(pointers)

    assert status == 0
    assert "2 files are still to be fetched" in said
    assert read(folder) == SOUNDS | {"README": b"hello", "table.csv": b"a,b\n"}
    assert list(folder.parent.iterdir()) == [folder]


def test_files_that_have_come_are_not_asked_for_again(get, site, folder, pointers):
    second = site.files.pop("media/wav/b-sad.wav")
    status, said = get(pointers)
    assert status == 2
    assert "media/wav/b-sad.wav: the server answers 404" in said
    assert not folder.exists()

    site.files["media/wav/b-sad.wav"] = second
    before = len(site.asked)
    assert get(pointers)[0] == 0
    assert len(site.asked) == before + 1
    assert read(folder) == SOUNDS | {"README": b"hello", "table.csv": b"a,b\n"}


def test_a_file_that_is_not_what_its_pointer_says(get, site, folder, pointers):
    site.files["media/wav/a-happy.wav"] = b"something else"

    status, said = get(pointers)

    assert status == 2
    assert "a-happy.wav.part (14 bytes" in said
    assert "is not the published file: its sha256 is" in said
    assert not folder.exists()


def test_an_archive_without_the_pointers_it_should_hold(get, site):
    line = archive(site, "r.zip", zipped(SOUNDS), more=f", lfs={site.url + '/media'!r}")

    status, said = get(line)

    assert status == 2
    assert "holds no git-lfs pointer" in said


# --- consent


def test_nobody_to_ask_is_told_what_to_type(get, site, tmp_path):
    status, said = get(flags=())

    assert status == 2
    assert f"sertbench download mini --data {tmp_path / 'corpora'} --accept-licence 'CC BY 4.0'" in said
    assert site.asked == []


@pytest.mark.parametrize(("answer", "expected"), [("y", 0), ("YES", 0), ("", 1), ("n", 1)])
def test_on_a_terminal_it_asks(get, site, folder, monkeypatch, answer, expected):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)

    status, said = get(flags=())

    assert status == expected
    assert folder.exists() == (expected == 0)
    assert ("nothing was downloaded" in said) == bool(expected)


def test_the_licence_must_be_named_rightly(get, site, folder):
    status, said = get(flags=("--accept-licence", "MIT"))
    assert status == 2
    assert "'MIT' is not the licence of mini. Read it, then type --accept-licence 'CC BY 4.0'" in said
    assert site.asked == []

    assert get(flags=("--accept-licence", "cc by 4.0"))[0] == 0


def test_a_folder_with_something_else_is_left_alone(get, site, folder):
    folder.mkdir(parents=True)
    (folder / "c-happy.wav").write_bytes(b"mine")

    status, said = get()

    assert status == 2
    assert f"{folder} is there already" in said
    assert "out of the way" in said
    assert read(folder) == {"c-happy.wav": b"mine"}
    assert site.asked == []


# --- the corpora

CORPORA = {name: loaded.corpus for name, loaded in plugins.load_corpora().items()}


@pytest.mark.parametrize("name", [name for name, c in CORPORA.items() if not c.archives and not c.synthetic])
def test_who_wants_another_corpus_is_told_where_to_ask(name, tmp_path, capsys):
    status = cli.main(["download", name, "--data", str(tmp_path), "--yes"])

    said = capsys.readouterr().err
    assert status == 2
    for words in (CORPORA[name].access, CORPORA[name].licence, CORPORA[name].layout, f"sertbench audit {name}"):
        assert words in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name, c in CORPORA.items() if c.archives])
def test_archives_are_pinned(name):
    corpus = CORPORA[name]

    assert corpus.release == "free"
    assert len({a.name for a in corpus.archives}) == len(corpus.archives)
    for a in corpus.archives:
        assert a.url.startswith("https://")
        assert a.size > 10**5
        assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", a.checksum)
        if a.checksum.startswith("git:"):
            commit = a.url.rpartition("/")[2]
            assert re.fullmatch(r"[0-9a-f]{40}", commit), "a branch would change"
            assert a.inside.partition("/")[0].endswith(f"-{commit}")
            assert not a.lfs or commit in a.lfs


def test_the_demo_corpus_needs_no_download(capsys):
    assert cli.main(["download", "demo"]) == 0
    assert "nothing to download" in capsys.readouterr().out


def test_a_download_error_is_a_sertbench_error(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    with pytest.raises(StorageError, match="the connection was refused"):
        fetch.fetch("http://127.0.0.1:1/x", tmp_path / "x", "git:")
