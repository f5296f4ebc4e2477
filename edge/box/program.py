"""Where the program lies on the box: as it runs now, or in a venv below /opt made of wheels, without a network."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import edge
from edge.box.steps import write_whole
from edge.errors import ConfigError, Problem

OPT = Path("/opt/cornergrid")
SYSTEM_PYTHON = "/usr/bin/python3"
MADE = ".complete"
PIP_S = 900
_WHEEL = re.compile(r"cornergrid-([0-9A-Za-z.+!]+)-py3-none-any\.whl")


@dataclass(frozen=True, slots=True)
class Program:
    """What the unit starts: its words, and further folders that it needs."""

    command: tuple[str, ...]
    prefixes: tuple[str, ...] = ()


def running() -> Program:
    """This very program, as a service would start it."""
    script = Path(sys.executable).with_name("cornergrid-edge")
    command = (str(script),) if script.exists() else (sys.executable, "-m", "edge")
    return Program(command, tuple(sorted({sys.prefix, sys.base_prefix, str(Path(edge.__file__).parents[1])})))


def unreachable(program: Program) -> Iterator[Problem]:
    """Folders on the way to the program that an unprivileged user may not pass."""
    closed = {str(folder) for path in (program.command[0], *program.prefixes)
              for folder in (Path(path).resolve(), *Path(path).resolve().parents)
              if folder.is_dir() and not folder.stat().st_mode & 0o001}
    for folder in sorted(closed):
        yield Problem("program", f"{folder} is closed to the agent's user", f"chmod o+x {folder}, or see --wheels")


def from_wheels(wheels: Path, opt: Path = OPT) -> tuple[Program, str, bool]:
    """The program of the wheels in a folder, its version, and whether it has to be made; ConfigError."""
    found = [(path, made[1]) for path in sorted(wheels.glob("*.whl")) if (made := _WHEEL.fullmatch(path.name))]
    if len(found) != 1:
        names = ", ".join(path.name for path, _ in found) or "none"
        raise ConfigError(str(wheels), (Problem("--wheels", f"needs one wheel of cornergrid, has {names}",
                                                "pip wheel 'cornergrid[edge]' --wheel-dir FOLDER"),))
    place = opt / f"{found[0][1]}-{_digest(wheels)[:8]}"
    return Program((str(place / "bin" / "cornergrid-edge"),)), place.name, not (place / MADE).exists()


def make(wheels: Path, program: Program) -> None:
    """The venv of the wheels; anew where an earlier try was interrupted. ConfigError where that cannot be.

    It lies in a folder named after its wheels, so what runs meanwhile is left alone; the mark that it is whole comes
    last, after the disk has all of it.
    """
    place = Path(program.command[0]).parents[1]
    python = SYSTEM_PYTHON if Path(SYSTEM_PYTHON).exists() else sys.executable
    for words in ((python, "-m", "venv", "--clear", str(place)),
                  (str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                   "--no-index", "--find-links", str(wheels), "cornergrid[edge]")):
        done = subprocess.run(words, capture_output=True, text=True, timeout=PIP_S, check=False,  # noqa: S603  # words from above
                              umask=0o022)  # the agent's user must reach it
        if done.returncode:
            raise ConfigError(str(wheels), (Problem(" ".join(words[:4]), (done.stderr or done.stdout).strip(),
                                                    "apt install python3-venv, and all wheels in the folder"),))
    os.sync()
    write_whole(place / MADE, b"", 0o644)


def _digest(wheels: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(wheels.glob("*.whl")):
        whole.update(f"{path.name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
