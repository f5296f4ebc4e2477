"""The broker's folder: configuration, certificates, access list and revocation list, written whole and reloaded.

`publish` brings the folder up to what the ledger says and tells the running broker (SIGHUP). Within the same second
a revoked device's new connections are refused by the list, and what it says on a live one by the access list.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import secrets
import shutil
import signal
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
from cryptography import x509

from cloud_ingest.pki.folder import SERVER_LIFE_S, Folder, keep_leaf, write
from cloud_ingest.pki.ledger import Ledger
from cloud_ingest.pki.x509 import DAY_S, Leaf, make_crl, pem
from edge import wire
from edge.errors import ConfigError, Problem

log = structlog.get_logger(__name__)
TEMPLATES = Path(__file__).parents[2] / "firmware_configs" / "broker"
TEMPLATE = TEMPLATES / "mosquitto.conf.template"
UNIT, RULES, PID = "cornergrid-broker.service", "cornergrid-broker.nft", "state/mosquitto.pid"
CRL_LIFE_S = 30 * DAY_S
CRL_EVERY_S = DAY_S
"""The list is signed anew each day, so it is never older than a thirtieth of its life while anybody keeps watch."""
SERVICES = {
    "cg_backend": (f"read {wire.ALL_UP}#", f"write {wire.ROOT}/+/down/#", f"write {wire.ALL_INGEST}",
                   f"write {wire.ROOT}/feed/#"),
    "cg_guard": (f"readwrite {wire.ALL_UP}state",),
    "cg_reader": (f"read {wire.ROOT}/feed/#",),
}
"""Users with a certificate of the services' root, and what each may. No device id has an underscore."""
SPOKEN = ("data", "backlog", "birth", "state")
DEVICES = (*(f"write {wire.ROOT}/%u/up/{what}" for what in SPOKEN), f"read {wire.ROOT}/%u/down/#",
           f"read {wire.ALL_INGEST}")
"""Each topic by its name: a device that may make up topics may have the broker keep a message on each of millions."""
OTHER_FILES = 32
"""What mosquitto keeps open beside its connections: log, database, listeners, one for the last refusal."""
SPARE_FILES, READS_S = 4096, 0.2
SPARE_MEMORY = 512 * 1024 ** 2
"""What TLS sessions and the allocator take beside what mosquitto counts of itself."""
PROGRAMS = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
OPEN, OWN = "0.0.0.0", "127.0.0.1"  # noqa: S104  # devices come from outside: that is what the certificates are for


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes; connections are clients at once, rates new ones in a second, of one address and of all, enforced
    by the packet filter. What is queued for the ingest rides out a flood until the guard
    silences it: a full queue would drop the messages of everybody."""

    connections: int = 20_000
    service_connections: int = 100
    payload_bytes: int = wire.MAX_PAYLOAD
    packet_bytes: int = wire.MAX_PAYLOAD + 4096
    queued_messages: int = 100_000
    queued_bytes: int = 64 * 1024 ** 2
    memory_bytes: int = 2 * 1024 ** 3
    address_rate: int = 10
    address_burst: int = 200
    all_rate: int = 500
    all_burst: int = 2000


@dataclass(frozen=True, slots=True)
class Listeners:
    """Where devices and services come in; `names` are the hosts that both know the broker by."""

    names: tuple[str, ...]
    device_port: int = 8883
    service_port: int = 8884
    device_bind: str = OPEN
    service_bind: str = OWN


@dataclass(frozen=True, slots=True)
class Published:
    """What `publish` changed; `told` is whether a broker runs and knows it, by this process or by the guard."""

    changed: tuple[str, ...]
    told: bool


def configure(folder: Folder, ledger: Ledger, where: Path, listeners: Listeners, limits: Limits, now: float,
              user: str = "") -> Published:
    """Write all that a mosquitto needs into `where`, and note it as this authority's broker.

    `user` is whom root hands the broker to; where absent, `mosquitto` where there is such a user.
    """
    where = where.absolute()
    if not listeners.names:
        raise ConfigError("broker config", (Problem("--name", "is missing", "the name or address by which devices "
                                                    "reach the broker: it stands in its certificate"),))
    if " " in str(where):
        raise ConfigError("broker config", (Problem("--out", f"{where} has a space, which mosquitto cannot read",
                                                    "choose another folder"),))
    user = (user or _broker_user()) if os.geteuid() == 0 else ""
    if user and user not in {each.pw_name for each in pwd.getpwall()}:
        raise ConfigError("broker config", (Problem("--user", f"this machine has no user {user}", "install mosquitto, "
                                                    "which makes the user mosquitto, or name another"),))
    for part in (where, where / "state", where / "log"):
        part.mkdir(parents=True, exist_ok=True, mode=0o750)
    write(where / "devices.pem", folder.anchors)
    write(where / "services.pem", pem(folder.services.certificate))
    group = where / "share-group"
    if not group.exists():
        write(group, secrets.token_hex(16), secret=True)
    _hand_over(where, user)
    write(where / "mosquitto.conf", TEMPLATE.read_text(encoding="utf-8").format(
        folder=where, user=f"user {user}" if user else "# Not root: the broker runs as who starts it.",
        **{name: value for name, value in asdict(listeners).items() if name != "names"}, **asdict(limits)))
    _write_surroundings(where, listeners, limits, user)
    ledger.keep_meta("broker_user", user)
    ledger.keep_meta("broker_connections", limits.connections + limits.service_connections)
    ledger.keep_meta("broker", str(where))
    ledger.keep_meta("broker_names", " ".join(listeners.names))
    ledger.keep_meta("broker_service", f"{listeners.service_bind}:{listeners.service_port}")
    return publish(folder, ledger, now, force=True)


def _write_surroundings(where: Path, listeners: Listeners, limits: Limits, user: str) -> None:
    """The unit and the packet filter's rules: what mosquitto lacks, for a person to put in place."""
    files = limits.connections + limits.service_connections + OTHER_FILES + SPARE_FILES
    write(where / UNIT, (TEMPLATES / f"{UNIT}.template").read_text(encoding="utf-8").format(
        program=shutil.which("mosquitto", path=PROGRAMS) or "/usr/sbin/mosquitto", folder=where, files=files,
        user=f"User={user}" if user else "# As whom you name here: User=", memory=limits.memory_bytes + SPARE_MEMORY,
        capabilities="CAP_DAC_OVERRIDE" if user == "root" else ""))
    write(where / RULES, (TEMPLATES / f"{RULES}.template").read_text(encoding="utf-8").format(
        **asdict(listeners), **asdict(limits)))


def _broker_user() -> str:
    names = {each.pw_name for each in pwd.getpwall()}
    return "mosquitto" if "mosquitto" in names else "root"


def publish(folder: Folder, ledger: Ledger, now: float, *, force: bool = False) -> Published:
    """Bring the broker's folder up to the ledger; nothing is written, and nobody told, where it is so already."""
    told = str(ledger.meta("broker") or "")
    if not told:
        return Published((), False)
    where, changed = Path(told), list[str]()
    names = tuple(str(ledger.meta("broker_names")).split())
    if _keep_server(folder, where, names, now, str(ledger.meta("broker_user") or "")):
        changed.append("server certificate")
    changed += [user for user in SERVICES if keep_leaf(
        where / f"{user}.pem", folder.services, Leaf(user, "service", SERVER_LIFE_S), "", now)]
    with ledger.change():  # one writer: an older list must not replace a newer one
        if _write_if_other(where / "acl", access_list(denied(ledger, now))):
            changed.append("acl")
        if _keep_crl(folder, ledger, where / "crl.pem", now, force=force):
            changed.append("crl.pem")
    most = int(str(ledger.meta("broker_connections")))
    return Published(tuple(changed), reload(where, most) if changed else pid_of(where) is not None)


def denied(ledger: Ledger, now: float) -> dict[str, str]:
    """Devices that are to be silent on a live session, and why: revoked, run out, or paused by the guard."""
    rows = ledger.rows(
        "SELECT id, 'certificate ran out' FROM device WHERE ends <= ?1 "
        "UNION ALL SELECT id, 'paused by the guard' FROM device WHERE paused > 0 AND paused > ?1 "
        "UNION ALL SELECT id, 'revoked' FROM device WHERE barred IS NOT NULL", now)
    return {str(device): str(why) for device, why in sorted(rows)}


def access_list(silent: dict[str, str]) -> str:
    """The access list (mosquitto.conf(5), `acl_file`): a user's `deny` outweighs every pattern."""
    lines = ["# Written by cornergrid-cloud; %u is the subject of the client's certificate.",
             *(f"pattern {right}" for right in DEVICES)]
    for user, rights in SERVICES.items():
        lines += ["", f"user {user}", *(f"topic {right}" for right in rights)]
    for device, why in silent.items():
        lines += ["", f"# {why}", f"user {device}", "topic deny #"]
    return "\n".join(lines) + "\n"


def _keep_server(folder: Folder, where: Path, names: Iterable[str], now: float, user: str) -> bool:
    """mosquitto wants the certificate and its key in two files; the pair is made in one."""
    pair = where / "server.pem"
    if not keep_leaf(pair, folder.issuing, Leaf("broker", "server", SERVER_LIFE_S, tuple(names)), folder.chain, now) \
            and (where / "server.crt").exists():
        return False
    key, mark, rest = pair.read_text(encoding="ascii").partition("-----BEGIN CERTIFICATE-----")
    write(where / "server.key", key, secret=True)
    write(where / "server.crt", mark + rest)
    _hand_over(where, user)
    return True


def _hand_over(where: Path, user: str) -> None:
    """What the broker writes becomes its user's. The folder stays root's: who takes over the broker must not write its
    unit, which systemd runs, nor its lists."""
    if not user:
        return
    owner = pwd.getpwnam(user)
    os.chown(where, os.geteuid(), owner.pw_gid)
    for name in ("server.key", "state", "log"):
        if (where / name).exists():
            os.chown(where / name, owner.pw_uid, owner.pw_gid)


def _keep_crl(folder: Folder, ledger: Ledger, file: Path, now: float, *, force: bool) -> bool:
    wanted = {int(str(serial), 16): float(str(at)) for serial, at in ledger.rows(
        "SELECT serial, revoked FROM certificate WHERE revoked IS NOT NULL AND ends > ?", now)}
    present = read_crl(file)
    if present is not None and not force:
        age = now - present.last_update_utc.timestamp()
        if 0 <= age < CRL_EVERY_S and {each.serial_number for each in present} == set(wanted):
            return False
    number = int(str(ledger.meta("crl") or 0)) + 1
    ledger.keep_meta("crl", number)
    write(file, pem(make_crl(folder.issuing, number, wanted.items(), now, CRL_LIFE_S)))
    log.info("crl", number=number, revoked=len(wanted))
    return True


def read_crl(file: Path) -> x509.CertificateRevocationList | None:
    """The list in a file; None where there is none that can be read."""
    try:
        return x509.load_pem_x509_crl(file.read_bytes())
    except (OSError, ValueError):
        return None


def _write_if_other(file: Path, text: str) -> bool:
    with contextlib.suppress(OSError):
        if file.read_text(encoding="ascii") == text:
            return False
    write(file, text)
    return True


def reload(where: Path, connections: int) -> bool:
    """Tell the broker of this folder to read its files again; False where none runs.

    While it reads, the limit on open files is lifted: mosquitto 2.0.11 that cannot open its access list then lets
    everybody do everything. Afterwards the limit holds what `max_connections` did, which it forgets when it reads.
    """
    pid = pid_of(where)
    if pid is None:
        return False
    _allow_files(pid, connections, spare=True)
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        log.warning("broker_not_told", error=str(error), fix="run this as the broker's user, or as root")
        return False
    threading.Event().wait(READS_S)
    _allow_files(pid, connections)
    return True


def hold_connections(where: Path, connections: int) -> None:
    """Keep some open files of the broker free for when it reads again, however many clients there are."""
    pid = pid_of(where)
    if pid is not None:
        _allow_files(pid, connections)


def _allow_files(pid: int, connections: int, *, spare: bool = False) -> None:
    """Set how many files, of which connections are most, a process may have open; some of its hard limit are spare."""
    try:
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        most = hard if hard > 0 else 2**20
        usual = min(connections + OTHER_FILES, most - min(SPARE_FILES, most // 4))
        wanted = min(usual + SPARE_FILES, most) if spare else usual
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.warning("connections_not_limited", error=str(error), fix="run this as the broker's user, or as root")


def pid_of(where: Path) -> int | None:
    """The process of the broker of this folder; None where none runs."""
    try:
        pid = int((where / PID).read_text(encoding="ascii"))
        command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
    return pid if "mosquitto" in command else None
