"""Events for the journal: the same JSON lines, each behind its level, sd-daemon(3), so that `journalctl -p` works."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import IO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3, "critical": 2}
"""structlog's levels as syslog's (RFC 5424, table 2)."""


def in_journal(stream: IO[str] | None = None, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `stream` (standard error) goes to the journal: JOURNAL_STREAM names its device and inode."""
    try:
        found = os.fstat((stream or sys.stderr).fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def levelled(render: Processor) -> Processor:
    """`render`, which makes a line of JSON, with the event's level in front as the journal reads it: `<4>{...}`."""
    def leveller(logger: WrappedLogger, name: str, event: EventDict) -> str:
        priority = PRIORITY.get(str(event.get("level", name)), 6)
        return f"<{priority}>{render(logger, name, event)!s}"

    return leveller


def machine_lines() -> Processor:
    """JSON lines; in the journal with their levels."""
    lines = structlog.processors.JSONRenderer()
    return levelled(lines) if in_journal() else lines
