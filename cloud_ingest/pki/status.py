"""How authority and broker are doing, and what a person must do: for `ca status` and `broker status`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cloud_ingest.pki.broker import CRL_LIFE_S, denied, pid_of, read_crl
from cloud_ingest.pki.folder import Folder
from cloud_ingest.pki.ledger import Ledger, Refusal
from cloud_ingest.pki.sightings import FIXES
from cloud_ingest.pki.x509 import DAY_S, ends

WATCH = "start `cornergrid-cloud ca serve`, and keep it running: it signs the list each day"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong, and what to do."""

    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Status:
    """Everything at one time; times are Unix seconds."""

    devices: int
    enrolled: int
    open_labels: int
    silent: dict[str, str]
    crl_number: int
    crl_ends: float | None
    broker: str
    running: bool
    refusals: tuple[Refusal, ...]
    troubles: tuple[Trouble, ...] = field(default=())


def look(folder: Folder, ledger: Ledger, now: float, since_s: float = DAY_S) -> Status:
    """The status, with the refusals of the last `since_s` seconds."""
    devices, enrolled, labels = (int(str(ledger.rows(sql, *values)[0][0])) for sql, values in (
        ("SELECT count(*) FROM device", ()),
        ("SELECT count(*) FROM device WHERE ends > ? AND barred IS NULL", (now,)),
        ("SELECT count(*) FROM invitation WHERE used IS NULL AND ends > ?", (now,))))
    broker = str(ledger.meta("broker") or "")
    crl = read_crl(Path(broker) / "crl.pem") if broker else None
    until = crl.next_update_utc.timestamp() if crl is not None and crl.next_update_utc else None
    refusals = tuple(ledger.refusals(now - since_s))
    running = bool(broker) and pid_of(Path(broker)) is not None
    troubles = [*_of_authority(folder, now), *(_of_broker(running, until, now) if broker else ()),
                *(Trouble(f"{each.kind}: {each.subject} from {each.source}, {each.n} times", FIXES[each.kind])
                  for each in refusals if each.kind in {"superseded", "label_used", "flood", "foreign_will",
                                                        "foreign_subscribe", "foreign_publish",
                                                        "access_list_not_read"})]
    return Status(devices, enrolled, labels, denied(ledger, now), int(str(ledger.meta("crl") or 0)), until, broker,
                  running, refusals, tuple(troubles))


def _of_authority(folder: Folder, now: float) -> list[Trouble]:
    troubles = []
    if (folder.path / "root.key").exists():
        troubles.append(Trouble("the root's key is on this machine", f"move {folder.path / 'root.key'} to a safe "
                                "place: only a new issuing authority needs it, in years"))
    left = (ends(folder.issuing.certificate) - now) / DAY_S
    if left < 365:
        when = f"ends in {left:.0f} days" if left > 0 else f"ran out {-left:.0f} days ago"
        troubles.append(Trouble(f"the issuing authority {when}", "make another (`cornergrid-cloud ca init --ca FOLDER`)"
                                " in time, and give each device a label of it"))
    return troubles


def _of_broker(running: bool, crl_ends: float | None, now: float) -> list[Trouble]:
    troubles = []
    if not running:
        troubles.append(Trouble("the broker does not run", "start mosquitto with the configuration in its folder"))
    if crl_ends is None:
        troubles.append(Trouble("there is no revocation list: the broker does not start", WATCH))
    elif crl_ends <= now:
        troubles.append(Trouble("the revocation list ran out: the broker refuses every device", WATCH))
    elif crl_ends - now < CRL_LIFE_S * 0.8:
        troubles.append(Trouble(f"nobody signed the revocation list for {(CRL_LIFE_S - crl_ends + now) / DAY_S:.0f} "
                                f"days; in {(crl_ends - now) / DAY_S:.0f} the broker refuses every device", WATCH))
    return troubles

