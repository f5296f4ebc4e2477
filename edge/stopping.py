"""SIGINT and SIGTERM from the first moment of `cornergrid-edge run`, whose libraries take a second or more to load.

`edge/__main__.py` imports this before everything else. Other commands end at once, as programs do.
"""

from __future__ import annotations

import signal
import sys
import threading

STOP = threading.Event()
"""Set once somebody wants the agent to end."""


def listen() -> None:
    """Let SIGINT and SIGTERM set `STOP`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: STOP.set())


if sys.argv[1:2] == ["run"]:
    listen()
