"""The support bundle: one file from which somebody elsewhere can tell what happened on this box.

    manifest.json    what is in it, and what is not and why
    versions.json    the program, its packages, Python, the system, the disk
    profile.json     the profile as it is read; profile.txt where it cannot be read
    status.json      what `cornergrid-edge status` says
    outbox.json      what `buffer inspect` and `buffer verify` say
    state.json       what the agent told last of itself
    documents.json   the last check, baselines without their pictures
    logs/            the newest lines of the agent's log
    raw/             the last bytes of each serial line: recordings, `port = "replay:FILE"` plays them
    pictures/        the baselines' pictures, only where asked for

All text goes through the scrubber. The data folder is the agent's, and the bundle may be made by root: no link in there
is followed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from edge.box.scrub import Scrubber, secrets_of, secrets_of_key
from edge.errors import CornergridError

LOG_BYTES = 4 * 1024 ** 2
FILE_BYTES = 16 * 1024 ** 2
JOURNAL_LINES = 20_000
JOURNAL_S = 30
JOURNALCTL = ("journalctl", "--namespace=cornergrid", "--no-pager", "--output=short-iso-precise",
              f"--lines={JOURNAL_LINES}")
_BYTES = re.compile(r"\d+\.\d{6} [<>] [0-9A-F ]+")


@dataclass(frozen=True, slots=True)
class Source:
    """What a bundle is made of.

    Attributes:
        profile: the profile's file.
        data: the data folder.
        logs: files of logs; the journal where there are none.
        pictures: whether baselines' pictures come along.
        reports: names of files, and what makes their content (JSON).
    """

    profile: Path
    data: Path
    logs: tuple[Path, ...] = ()
    pictures: bool = False
    reports: dict[str, Callable[[], Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the bundle."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Left:
    """What is not in the bundle, and why."""

    name: str
    why: str


Part = Callable[[Source, Scrubber], Iterator[Entry | Left]]


def collect(source: Source, told: Callable[[str], None] = lambda _: None) -> Iterator[Entry | Left]:
    """All files of a bundle; a part that fails is left out with its reason, and ends no other."""
    scrubber = Scrubber(known_secrets(source))
    for name, part in PARTS.items():
        told(name)
        try:
            yield from part(source, scrubber)
        except (OSError, CornergridError, ValueError) as error:
            yield Left(name, scrubber.text(str(error)))


def pack(target: Path, found: Iterator[Entry | Left], at: float) -> dict[str, Any]:
    """Write a .tar.gz, readable by its owner only, which may not be there yet; its manifest. OSError."""
    files: list[dict[str, Any]] = []
    left: list[dict[str, str]] = []
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for each in found:
            if isinstance(each, Left):
                left.append({"name": each.name, "why": each.why})
                continue
            files.append({"name": each.name, "bytes": len(each.content)})
            _add(archive, each, at)
        manifest = {"at": at, "files": files, "left_out": left}
        _add(archive, Entry("manifest.json", _json(manifest)), at)
    return manifest


def _add(archive: tarfile.TarFile, entry: Entry, at: float) -> None:
    info = tarfile.TarInfo(f"cornergrid/{entry.name}")
    info.size, info.mtime, info.mode = len(entry.content), int(at), 0o600
    archive.addfile(info, io.BytesIO(entry.content))


def known_secrets(source: Source) -> Iterator[str]:
    """All secrets that this box knows; a file that cannot be read has none to tell."""
    with contextlib.suppress(OSError, ValueError):  # what cannot be read is scrubbed by the look of it
        yield from secrets_of(tomllib.loads(source.profile.read_text(encoding="utf-8")))
    folder = source.data / "identity"
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # what this user may not read gets into no file of theirs
            yield from secrets_of_key(read_below(source.data, "identity", path.name).decode(errors="replace"))


def read_below(data: Path, *names: str, most: int = FILE_BYTES) -> bytes:
    """The last `most` bytes of a plain file below `data`; no link below `data` is followed. OSError."""
    folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in names[:-1]:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        handle = os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    with os.fdopen(handle, "rb") as file:
        return _tail(file, "/".join(names), most)


def _tail(file: io.BufferedReader, name: str, most: int) -> bytes:
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "is not a plain file", name)
    file.seek(max(0, found.st_size - most))
    return file.read(most)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, default=str).encode() + b"\n"


def _versions(source: Source, _: Scrubber) -> Iterator[Entry | Left]:
    packages = {each.metadata["Name"] or "": each.version for each in distributions()}
    disk = shutil.disk_usage(source.data if source.data.is_dir() else "/")
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        system = {}
    yield Entry("versions.json", _json({
        "cornergrid": packages.get("cornergrid", ""), "python": platform.python_version(),
        "system": system.get("PRETTY_NAME", ""), "kernel": platform.release(), "arch": platform.machine(),
        "cpus": os.cpu_count(), "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "disk": {"bytes": disk.total, "free": disk.free}, "packages": dict(sorted(packages.items())),
    }))


def _profile(source: Source, scrubber: Scrubber) -> Iterator[Entry | Left]:
    text = source.profile.read_text(encoding="utf-8", errors="replace")
    try:
        yield Entry("profile.json", _json(scrubber.tree(tomllib.loads(text))))
    except tomllib.TOMLDecodeError as error:
        yield Entry("profile.txt", scrubber.text(f"# {error}\n{text}").encode())


def _attempt(name: str, scrubber: Scrubber, made: Callable[[], bytes]) -> Entry | Left:
    """One file, or why it is left out: one that cannot be read keeps no other back."""
    try:
        return Entry(name, made())
    except FileNotFoundError:
        return Left(name, "is not there")
    except (OSError, CornergridError) as error:
        return Left(name, scrubber.text(str(error)))


def _reports(source: Source, scrubber: Scrubber) -> Iterator[Entry | Left]:
    for name, report in source.reports.items():
        yield _attempt(name, scrubber, partial(_report, report, scrubber))


def _report(report: Callable[[], Any], scrubber: Scrubber) -> bytes:
    return _json(scrubber.tree(report()))


def _documents(source: Source, scrubber: Scrubber) -> Iterator[Entry | Left]:
    for name in ("state.json", "documents.json"):
        yield _attempt(name, scrubber, partial(_document, source.data, name, scrubber))


def _document(data: Path, name: str, scrubber: Scrubber) -> bytes:
    content = read_below(data, name)
    try:
        return _json(scrubber.tree(json.loads(content)))
    except ValueError:
        return scrubber.text(content.decode(errors="replace")).encode()


def _logs(source: Source, scrubber: Scrubber) -> Iterator[Entry | Left]:
    for number, path in enumerate(source.logs, 1):
        yield _attempt(f"logs/{number}-{path.name}", scrubber, partial(_log_file, path, scrubber))
    if source.logs:
        return
    if shutil.which(JOURNALCTL[0]) is None:
        yield Left("logs", "there is no journalctl here; name a file with --log")
        return
    try:
        done = subprocess.run(JOURNALCTL, capture_output=True, timeout=JOURNAL_S, check=False)  # noqa: S603  # constant
    except subprocess.TimeoutExpired:
        yield Left("logs", f"journalctl did not answer in {JOURNAL_S} s; name a file with --log")
        return
    if done.returncode:
        yield Left("logs", scrubber.text(f"journalctl: {done.stderr.decode(errors='replace').strip()}"))
        return
    yield Entry("logs/journal.log", scrubber.lines(done.stdout[-LOG_BYTES:].decode(errors="replace")).encode())


def _log_file(path: Path, scrubber: Scrubber) -> bytes:
    with path.open("rb") as file:
        return scrubber.lines(_tail(file, str(path), LOG_BYTES).decode(errors="replace")).encode()


def _raw(source: Source, scrubber: Scrubber) -> Iterator[Entry | Left]:
    folder = source.data / "raw"
    names = sorted(path.name for path in folder.glob("*.rec")) if folder.is_dir() else []
    for name in names:
        yield _attempt(f"raw/{name}", scrubber, partial(_recording, source.data, name, scrubber))
    if not names:
        yield Left("raw", "the agent has kept no bytes of a serial line")


def _recording(data: Path, name: str, scrubber: Scrubber) -> bytes:
    """The bytes of the line are left as they are: a short password as digits would be found in their times."""
    lines = read_below(data, "raw", name).decode(errors="replace").splitlines()
    kept = (line if _BYTES.fullmatch(line) else scrubber.lines(line).rstrip("\n") for line in lines)
    return "".join(f"{line}\n" for line in kept).encode()


def _pictures(source: Source, scrubber: Scrubber) -> Iterator[Entry | Left]:
    folder = source.data / "baseline"
    names = sorted(path.name for path in folder.glob("*.png")) if folder.is_dir() else []
    if not source.pictures:
        yield Left("pictures", f"{len(names)} pictures of the shop stay here (--with-pictures takes them along)")
        return
    for name in names:
        yield _attempt(f"pictures/{name}", scrubber, partial(read_below, source.data, "baseline", name))


PARTS: dict[str, Part] = {
    "versions": _versions, "profile": _profile, "reports": _reports, "documents": _documents, "logs": _logs,
    "raw": _raw, "pictures": _pictures,
}
