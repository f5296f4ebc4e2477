"""The two screens of every command: answers on standard output, progress and errors on standard error."""

from __future__ import annotations

import sys

from rich.console import Console

WIDE = 160  # a pipe has no width of its own
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True)
