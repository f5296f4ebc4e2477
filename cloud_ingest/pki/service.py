"""What a service of the cloud needs to reach a closed broker: its certificate, the broker's root, the share's name."""

from __future__ import annotations

import ssl
from pathlib import Path

from cloud_ingest.subscriber import Secured
from edge.errors import ConfigError, Problem

BACKEND, GUARD = "cg_backend", "cg_guard"


def context(broker: Path, user: str) -> ssl.SSLContext:
    """TLS for `user` from the broker's folder; ConfigError where something is missing there."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        tls.load_verify_locations(broker / "devices.pem")
        tls.load_cert_chain(broker / f"{user}.pem")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(str(broker), (Problem(f"{user}.pem", f"cannot be used: {error}",
                                                "write the folder with `cornergrid-cloud broker config`, or copy it "
                                                "from the broker's machine"),)) from error
    return tls


def secured(broker: Path | None, host: str) -> Secured | None:
    """How the ingest connects to `host`: closed by the broker's folder, or open without one, on loopback only.

    ConfigError where it would be open elsewhere.
    """
    if broker is not None:
        return Secured(context(broker, BACKEND), broker / f"{BACKEND}.pem", share_group(broker))
    if host in {"localhost", "::1"} or host.startswith("127."):
        return None
    raise ConfigError("--tls", (Problem(host, "is not on this machine, and an open connection is let be on loopback "
                                        "only", "--tls FOLDER, the broker's folder by `cornergrid-cloud broker "
                                        "config`"),))


def share_group(broker: Path) -> str:
    """The name of the workers' share, which no device knows; ConfigError where it is missing."""
    try:
        return (broker / "share-group").read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigError(str(broker), (Problem("share-group", f"cannot be read: {error.strerror}",
                                                "write the folder with `cornergrid-cloud broker config`"),)) from error
