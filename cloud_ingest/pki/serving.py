"""The authority as one process: the enrolment server, and the guard where a broker was configured on this machine."""

from __future__ import annotations

import threading
from pathlib import Path

import structlog

from cloud_ingest.pki.desk import Desk
from cloud_ingest.pki.folder import Folder
from cloud_ingest.pki.guard import Guard, Rate
from cloud_ingest.pki.ledger import Ledger
from cloud_ingest.pki.server import EnrolServer, keep_serving, names_with
from cloud_ingest.pki.service import GUARD, context
from cloud_ingest.subscriber import end_session
from edge.clock import SystemClock
from edge.errors import ConfigError

log = structlog.get_logger(__name__)


def serve(folder: Folder, ledger: Ledger, desk: Desk, where: tuple[str, int], names: list[str],
          stop: threading.Event) -> None:
    """Serve until `stop` is set."""
    clock = SystemClock()
    server = EnrolServer(folder, ledger, clock, desk, where, names_with(where[0], names))
    guard = Guard(folder, ledger, clock, Rate(), lambda device: try_end_session(ledger, device))
    watching = threading.Thread(target=guard.run, args=(stop,), name="guard")
    watching.start()
    log.info("serving", address=f"{where[0]}:{server.port}", fingerprint=folder.fingerprint,
             broker=str(ledger.meta("broker") or "none configured here"))
    keep_serving(server, stop)
    watching.join()


def try_end_session(ledger: Ledger, device: str) -> bool:
    """End a silenced device's live session; whether that was possible. The access list silences it anyway."""
    broker, service = str(ledger.meta("broker") or ""), str(ledger.meta("broker_service") or "")
    host, _, port = service.rpartition(":")
    try:
        end_session((host, int(port)), device, context(Path(broker), GUARD))
    except (OSError, ValueError, ConfigError) as error:
        log.info("session_not_ended", device=device, error=str(error), effect="it can say nothing all the same")
        return False
    return True
