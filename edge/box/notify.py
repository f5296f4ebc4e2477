"""Telling systemd that the agent is ready and lives: sd_notify(3), one datagram to the socket in NOTIFY_SOCKET.

The unit says `Type=notify` and `WatchdogSec=`: where no `WATCHDOG=1` comes for that long, systemd ends the process and
starts it again. Without the variable, on a terminal or in a test, nothing is sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger(__name__)


class Systemd:
    """The service manager of this process, or none."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of an abstract address, unix(7).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._alive = True
        self._said = ""
        if self._address.startswith(("/", "\0")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)  # a manager that does not listen delays no reading

    def ready(self) -> None:
        """The agent has started."""
        self._send("READY=1")

    def beat(self, alive: bool, status: str = "") -> None:
        """Once a second: the agent goes on, and whether all of it lives; `status` is shown by `systemctl status`.

        What does not live is not told as living, so that the watchdog ends it.
        """
        if self._alive and not alive:
            log.error("watchdog_not_told", status=status, fix="systemd starts the agent again where this lasts")
        self._alive = alive
        lines = ["WATCHDOG=1"] if alive else []
        if status != self._said:
            lines.append("STATUS=" + status.replace("\n", " "))
            self._said = status
        if lines:
            self._send("\n".join(lines))

    def stopping(self) -> None:
        """The agent ends because it was asked to."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Nothing is told any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError as error:
            log.warning("systemd_not_told", error=str(error))
