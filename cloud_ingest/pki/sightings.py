"""What mosquitto's log says about refusals, a line at a time. Pure but for what the lines before said.

mosquitto 2.0 names a client in most lines, and an address only where it connects: for a failed handshake the address
is that of the newest connection, which under load may be its neighbour's. A subscription to a foreign topic is
granted by 2.0 (its access list is asked at delivery, and lets nothing through), so it is told here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cloud_ingest.pki.broker import SERVICES, SPOKEN
from edge import wire


@dataclass(frozen=True, slots=True)
class Sighting:
    """One refusal: a token of what, who (`?` before the certificate is known), from where, and the details."""

    kind: str
    subject: str
    source: str
    detail: str


FIXES = {
    "foreign_publish": "a revoked or tampered device, or an old program: compare its topics; revoke it where it is "
                       "not yours to trust",
    "foreign_subscribe": "nothing was delivered; find out what runs on that device, and revoke it",
    "foreign_will": "nothing was delivered; find out what runs on that device, and revoke it",
    "oversized": "an update gone wrong, or an attack: look at the device, and revoke it where it goes on",
    "malformed": "an update gone wrong, or an attack: look at the device, and revoke it where it goes on",
    "no_certificate": "a scanner, or a device that is not enrolled: `cornergrid-edge enroll` on the box",
    "bad_certificate": "revoked, run out, or of another authority: see `cornergrid-cloud device list`",
    "bad_tls": "a scanner, or an old TLS library: TLS 1.2 is the least",
    "too_many_connections": "raise --connections of `cornergrid-cloud broker config`, or find who floods; or "
                            "/etc/hosts.deny says so",
    "taken_over": "where it repeats, two boxes have one identity: revoke the device and invite it anew",
    "flood": "the guard keeps it silent for a while; look at the device, and revoke it where it goes on",
    "access_list_not_read": "the guard has the broker read it again within a second; until then every device could do "
                            "everything: see what was published then, and who else sends the broker SIGHUP",
    "wrong_label": "a label mistyped, or someone guessing: many from one address are the latter",
    "label_used": "someone else set the box up with this label: revoke the device, and invite it anew",
    "label_expired": "print a new label: `cornergrid-cloud device invite`",
    "superseded": "the device's key was copied, or its disk restored: revoke the device, and invite it anew",
    "enrol_tls": "a scanner, or another authority's device",
}
_NEW = re.compile(r"New connection from (\S+):\d+ on port \d+\.")
_AS = re.compile(r"New client connected from (\S+):\d+ as (\S+) \(p\d, c\d, k\d+, u'([^']*)'\)\.")
_HEARD = re.compile(r"Received PUBLISH from (\S+) \(.*\((\d+) bytes\)\)$")
_SUBSCRIBED = re.compile(r"(\S+) [0-2] (\S.*)")
_PLAIN = (
    ("foreign_publish", re.compile(r"Denied PUBLISH from (\S+) \(d\d, q\d, r\d, m\d+, '(.*)', \.\.\. ")),
    ("oversized", re.compile(r"Dropped too large PUBLISH from (\S+) \(d\d, q\d, r\d, m\d+, '(.*)', \.\.\. ")),
    ("oversized", re.compile(r"Client (\S+) disconnected due to (oversize .*)\.")),
    ("oversized", re.compile(r"Client (\S+) (connected with too large Will payload)")),
    ("malformed", re.compile(r"Client (?!<unknown>)(\S+) disconnected(?: due to |: )((?:malformed packet|protocol error"
                             r"|QoS too high|Malformed|Protocol error).*)\.", re.IGNORECASE)),
    ("malformed", re.compile(r"(?:Too high QoS in PUBLISH|Invalid QoS in PUBLISH) from (\S+), (disconnecting)\.")),
)
_TAKEN = re.compile(r"Client \S+ already connected, closing old connection\.")
_BEFORE_TLS = (
    ("bad_tls", re.compile(r"Client connection from (\S+) failed: error:[0-9A-F]+:SSL routines::(.*)\.")),
    ("too_many_connections", re.compile(r"Client connection from (\S+) denied: (max_connections exceeded)\.")),
    ("too_many_connections", re.compile(r"Client connection from (\S+) (denied access by tcpd)\.")),
    ("too_many_connections", re.compile(r"(Unable) to accept new connection, (system socket count has been exceeded)")),
)
_OPEN = re.compile(r"Error opening acl file (.*)\.")
_TLS = re.compile(r"OpenSSL Error\[0\]: error:[0-9A-F]+:SSL routines::(.*)")
_USUAL = {"unexpected eof while reading", "shutdown while in init"}


@dataclass(slots=True)
class Reader:
    """Reads the lines of one log in their order; `heard` counts each device's publishes and subscriptions since it
    was last cleared, and `heard_bytes` what was in them."""

    heard: Counter[str] = field(default_factory=Counter)
    heard_bytes: Counter[str] = field(default_factory=Counter)
    _source: str = "?"
    _client: str = "?"
    _known: dict[str, tuple[str, str]] = field(default_factory=dict)
    _will: bool = False
    _taken: bool = False

    def read(self, lines: Iterable[str]) -> Iterator[Sighting]:
        """The refusals among `lines`."""
        for line in lines:
            _, _, said = line.rstrip("\n").partition(": ")
            sighting = self._read(said)
            if sighting is not None:
                yield sighting

    def _read(self, said: str) -> Sighting | None:
        if match := _HEARD.match(said):
            self.heard[match[1]] += 1
            self.heard_bytes[match[1]] += int(match[2])
            return None
        if self._will:
            self._will = False
            own = may_speak(self._client, said.strip())
            return None if own else Sighting("foreign_will", self._client, self._source, said.strip())
        if match := _NEW.match(said):
            self._source = match[1]
            return None
        if match := _AS.match(said):
            return self._connected(match[1], match[2], match[3])
        self._taken = self._taken or _TAKEN.match(said) is not None
        self._will = said.startswith("Will message specified")
        return self._handshake(said) or self._refusal(said)

    def _connected(self, source: str, client: str, user: str) -> Sighting | None:
        self._source, self._client = source, user
        taken, self._taken = self._taken, False
        before = self._known.get(client, ("?", "?"))[0]
        self._known[client] = source, user
        return Sighting("taken_over", user, source, f"was connected from {before}") \
            if taken and user not in SERVICES else None

    def _handshake(self, said: str) -> Sighting | None:
        for kind, pattern in _BEFORE_TLS:
            if match := pattern.match(said):
                source = "?" if match[1] == "Unable" else match[1]
                return Sighting(_tls_kind(match[2]) if kind == "bad_tls" else kind, "?", source, match[2])
        if match := _OPEN.match(said):
            return Sighting("access_list_not_read", "broker", "?", match[1])
        match = _TLS.match(said)
        if match is None or match[1] in _USUAL:
            return None
        return Sighting(_tls_kind(match[1]), "?", self._source, match[1])

    def _refusal(self, said: str) -> Sighting | None:
        for kind, pattern in _PLAIN:
            if match := pattern.match(said):
                if kind == "foreign_publish":
                    self.heard[match[1]] += 1
                return Sighting(kind, match[1], self._known.get(match[1], ("?", ""))[0], match[2])
        match = _SUBSCRIBED.fullmatch(said)
        if match is None:
            return None
        source, user = self._known.get(match[1], ("?", match[1]))
        self.heard[user] += 1  # each takes memory of the broker
        return None if may_hear(user, match[2]) else Sighting("foreign_subscribe", user, source, match[2])


def _tls_kind(reason: str) -> str:
    if reason == "peer did not return a certificate":
        return "no_certificate"
    return "bad_certificate" if "certificate" in reason else "bad_tls"


def may_speak(user: str, topic: str) -> bool:
    """Whether the access list lets a device publish there; services are not judged."""
    return user in SERVICES or topic in {f"{wire.ROOT}/{user}/up/{what}" for what in SPOKEN}


def may_hear(client: str, pattern: str) -> bool:
    """Whether the access list delivers a device all that it asks for; services are not judged.

    A service whose user is not known yet, since the log is read from its middle, is told by its client id.
    """
    own = pattern.startswith((f"{wire.ROOT}/{client}/down/", wire.ALL_INGEST.removesuffix("#")))
    return own or not _DEVICE.fullmatch(client)


_DEVICE = re.compile(r"(?!(?:ingest|cornergrid|cg)(?:-|_|$))[a-z0-9][a-z0-9-]{0,62}")
