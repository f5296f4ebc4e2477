"""Secrets that a person hands to a command: never as an argument, which every user of the machine can read."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge.errors import ConfigError, Problem
from edge.vision.cameras.address import Address, redact

CAMERA = "CORNERGRID_CAMERA"
"""The environment variable of a camera's address; only this user and root can read those of a process."""
OTHERS = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH
Ask = Callable[[str, bool], str]
"""Puts a question to somebody; the second says whether the answer must not be seen."""


def read_line(source: str, flag: str) -> str:
    """The first line of a file, or of standard input for `-`; ConfigError where it cannot be read."""
    try:
        text = sys.stdin.readline() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(source, (Problem(flag, f"cannot be read: {error}"),)) from error
    return text.strip().partition("\n")[0].strip()


def read_private(source: str, flag: str) -> str:
    """The first line of a file that only its owner can read, or of standard input for `-`; ConfigError otherwise."""
    if source != "-":
        refuse_open(Path(source), flag)
    return read_line(source, flag)


def refuse_open(path: Path, what: str) -> None:
    """ConfigError where others than its owner may read a file, or write it."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(str(path), (Problem(what, f"cannot be read: {error.strerror}"),)) from error
    if mode & OTHERS:
        raise ConfigError(str(path), (Problem(what, "holds a password and may be read by others",
                                              f"chmod 600 {path}"),))


def has_login(address: str) -> bool:
    """Whether a camera's address holds a name, a password or a token."""
    return redact(address) != address


def camera_given(flag: str | None, file: str) -> str | None:
    """The camera's address by flag, file or environment; None where nobody said any.

    ConfigError where the flag holds a password: the list of processes shows it.
    """
    if flag and has_login(flag):
        raise ConfigError("--camera", (Problem("address", "holds a login, which every user of this machine can read "
                                               "in the list of processes, and the shell keeps it",
                                               "write the address into a file that only you can read (chmod 600) and "
                                               f"name it with --camera-file, or set {CAMERA}, or leave --camera out "
                                               "and type it when asked"),))
    if flag is not None:
        return flag
    return read_private(file, "--camera-file") if file else os.environ.get(CAMERA)


def ask_login(address: str, ask: Ask) -> str:
    """The address with the login that somebody is asked for, where it is one of the network and has none."""
    parts = Address.parse(address)
    if not parts.host or has_login(address):
        return address
    user = ask("its user (empty: it asks for no login)", False)
    return replace(parts, user=user, password=ask("its password, which is not shown", True)).full if user else address
