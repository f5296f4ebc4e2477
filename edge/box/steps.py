"""What an install consists of: files, links and commands, each of which may be done again without harm.

A step says how the box should be, not what to do: `change` compares it with what is there, `apply` makes it so. A file
is written beside its place, synced and renamed, so that a power cut leaves the old one or the new one.
"""

from __future__ import annotations

import difflib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from edge.errors import ConfigError, Problem


class _Step(msgspec.Struct, frozen=True, tag_field="step"):
    path: str


class Folder(_Step, frozen=True, tag="folder"):
    """A folder that should be there, root's."""

    mode: int = 0o755


class File(_Step, frozen=True, tag="file"):
    """A file that should be there with this content, root's. What is `secret` is never shown."""

    content: str
    mode: int = 0o644
    secret: bool = False


class Link(_Step, frozen=True, tag="link"):
    """A symbolic link that should be there."""

    target: str


class Gone(_Step, frozen=True, tag="gone"):
    """A file or link that should not be there."""


class Command(msgspec.Struct, frozen=True, tag="command", tag_field="step"):
    """A command to run once any of the files `of` has changed, or always where it names none.

    `may_fail`: what it does is of use, but the box works without it, or it may be done already.
    """

    argv: tuple[str, ...]
    of: tuple[str, ...] = ()
    may_fail: bool = False


Place = Folder | File | Link | Gone
Step = Folder | File | Link | Gone | Command


@dataclass(frozen=True, slots=True)
class There:
    """What is at a path now; `content` of a file, `target` of a link."""

    kind: Literal["file", "link", "folder", "other"]
    mode: int = 0
    content: bytes = b""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One step beside what is there: `what` is "unchanged", "create", "change", "remove" or "run"."""

    step: Step
    what: str
    shown: str = ""

    @property
    def name(self) -> str:
        """The path, or the command as typed."""
        return " ".join(self.step.argv) if isinstance(self.step, Command) else self.step.path


def below(root: Path, path: str) -> Path:
    """Where an absolute path lies under `root`; ConfigError where a link in there leads out of it."""
    place = root / path.lstrip("/")
    if not place.parent.resolve().is_relative_to(root.resolve()):
        raise ConfigError(str(place), (Problem("--root", "a link leads out of the folder", "make the link relative"),))
    return place


def look(root: Path, path: str) -> There | None:
    """What is at a path, without following a link; None where nothing is."""
    place = below(root, path)
    try:
        found = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        return There("link", mode, target=os.readlink(place))
    if stat.S_ISREG(found.st_mode):
        return There("file", mode, place.read_bytes())
    return There("folder" if stat.S_ISDIR(found.st_mode) else "other", mode)


def change(step: Place, there: There | None) -> Change:
    """What a step will do to what is there, with the difference for a person."""
    if isinstance(step, Gone):
        return Change(step, "unchanged" if there is None else "remove")
    if _is(step, there):
        return Change(step, "unchanged")
    return Change(step, "create" if there is None else "change", _shown(step, there))


def _is(step: Folder | File | Link, there: There | None) -> bool:
    if there is None:
        return False
    if isinstance(step, Folder):  # one that is there keeps its mode: it may be the system's
        return there.kind == "folder"
    if isinstance(step, Link):
        return there.kind == "link" and there.target == step.target
    # A secret file's mode is the work of tmpfiles.d, which gives it to the agent's group.
    return there.kind == "file" and there.content == step.content.encode() and (
        there.mode == step.mode or (step.secret and there.mode == 0o640))


def _shown(step: Folder | File | Link, there: There | None) -> str:
    if isinstance(step, Link):
        return f"-> {step.target}"
    if isinstance(step, Folder):
        return ""
    if step.secret:
        return "its content is not shown: it may hold a password"
    before = there.content.decode(errors="replace") if there else ""
    lines = difflib.unified_diff(before.splitlines(), step.content.splitlines(), "now", "then", lineterm="", n=1)
    return "\n".join(lines) if there else ""


def apply(root: Path, step: Place) -> None:
    """Make it so, and let the disk have it. OSError naming the file where that cannot be."""
    place = below(root, step.path)
    if isinstance(step, Folder):
        if not place.is_dir():
            place.mkdir(mode=step.mode, parents=True)
            sync(place.parent)
        return
    if isinstance(step, File):
        write_whole(place, step.content.encode(), step.mode)
        return
    part = place.with_name(f"{place.name}.part")
    if isinstance(step, Link):
        part.unlink(missing_ok=True)
        part.symlink_to(step.target)
        os.replace(part, place)
        sync(place.parent)
        return
    for path in (part, place):
        path.unlink(missing_ok=True)
    if place.parent.is_dir():
        sync(place.parent)


def write_whole(place: Path, content: bytes, mode: int, like: Path | None = None) -> None:
    """A file with this content and mode, or the one before: never half of one, whatever happens.

    What root writes belongs to whom `like` does, where that is named.
    """
    part = place.with_name(f"{place.name}.part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(handle, mode)
        os.fsync(handle)
    if like is not None:
        give(part, like)
    os.replace(part, place)
    sync(place.parent)


def give(file: Path, like: Path) -> None:
    """Let what root made belong to whom `like` does, who could not use it otherwise."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(file, owner.st_uid, owner.st_gid)


def sync(folder: Path) -> None:
    """Let the disk have a folder's names."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
