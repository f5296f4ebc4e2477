"""Power cuts (kill -9) at every step of something, in processes of their own: what the cutters of the tests share.

A step is a call that changes the disk or asks the network, as Python's audit hooks tell it (PEP 578).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR
IsStep = Callable[[str, tuple[Any, ...]], bool]
"""Whether an audit event with its arguments is a step."""


def cut_at(step: int, is_step: IsStep, before: Callable[[], None]) -> None:
    """From now on, do `before` and end this process right before the step of that number."""
    left = step

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        if not is_step(event, args):
            return
        left -= 1
        if left == 0:
            before()
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def tear(parts: Iterable[Path]) -> None:
    """Files that were being written lose their second half, as after a power cut before the disk was done."""
    for part in parts:
        if part.stat().st_nlink == 1:  # a second name of a file is not being written
            os.truncate(part, part.stat().st_size // 2)


def cut_each(cases: Iterable[Any], run: Callable[[int, Any], None]) -> None:
    """Do `run(step, case)` in a child for each case, until one comes through; a line for each, `cut` or `done`."""
    for step, case in enumerate(cases, 1):
        child = os.fork()
        if child == 0:
            run(step, case)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        cut = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write("cut\n" if cut else "done\n" if status == 0 else f"failed {status}\n")
        if not cut:
            return
