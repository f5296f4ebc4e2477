"""The errors of Cornergrid, each carrying the facts a person needs to act.

    CornergridError
    ├── ConfigError      a file says something that cannot be used: every problem at once
    ├── SensorError      a device gave no usable value: the reason becomes the reading's quality
    ├── CameraError      a camera gave no usable frame
    ├── ModelError       a model file or its card is missing, altered or of another kind
    ├── EnrolError       a certificate was refused, or this device's own cannot be used
    ├── WireError        bytes that are not the contract's: the reason goes to quarantine
    └── StoreError       a database could not be opened or written, or was made by another version
        └── CorruptError what a file holds is damaged: it must be salvaged
"""

from __future__ import annotations

from dataclasses import dataclass


class CornergridError(Exception):
    """Base of every error raised on purpose here; `str()` is one line for a person."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file: the key's place, what is wrong, and what would be right."""

    key: str
    wrong: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.wrong}" + (f" ({self.fix})" if self.fix else "")


class ConfigError(CornergridError):
    """A configuration file that cannot be used; `problems` lists all of them."""

    def __init__(self, file: str, problems: tuple[Problem, ...]) -> None:
        self.file = file
        self.problems = problems
        lines = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"{file}: {len(problems)} problem{'s' if len(problems) != 1 else ''}\n{lines}")


def system_told(error: OSError) -> str:
    """What the operating system refused, and about which file where it is about one: one line for a person."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)


class SensorError(CornergridError):
    """A device gave no usable value.

    `reason` is a short token (`no_answer`, `bad_checksum`, ...) that travels as the reading's quality;
    `detail` is for the person at the box.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class CameraError(SensorError):
    """A camera gave no usable frame; the reasons are a sensor's."""


class ModelError(CornergridError):
    """A model file or its card that must not be loaded, with the file and the fix."""

    def __init__(self, file: str, wrong: str, fix: str) -> None:
        self.file = file
        self.wrong = wrong
        self.fix = fix
        super().__init__(f"{file}: {wrong} ({fix})")


class WireError(CornergridError):
    """Bytes that are not the contract's; `reason` is a short token, `detail` names the place."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class EnrolError(CornergridError):
    """A certificate that was not given, or cannot be used.

    `kind` is a short token (`no_invitation`, `revoked`, ...); `retry_s` is after how many seconds another try makes
    sense, 0 where none does before `fix` is done.
    """

    def __init__(self, kind: str, wrong: str, fix: str, retry_s: float = 0.0) -> None:
        self.kind = kind
        self.wrong = wrong
        self.fix = fix
        self.retry_s = retry_s
        super().__init__(f"{wrong} ({fix})")


class StoreError(CornergridError):
    """A database that could not be opened, with its path and the fix."""

    def __init__(self, file: str, wrong: str, fix: str) -> None:
        self.file = file
        super().__init__(f"{file}: {wrong} ({fix})")


class CorruptError(StoreError):
    """A database whose content is damaged."""
