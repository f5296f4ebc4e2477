"""Keeps this device's identity alive beside the running agent, and gives the uplink its TLS.

A thread looks once an hour, and at once where the broker refused: it finishes an enrolment that was cut, and asks for
the next certificate at two thirds of the present one's life. Whether one is due, the authority decides by its own
clock, so a device whose clock is wrong asks in vain at worst. Nothing here stops collection: whatever fails is logged,
told with the uplink's trouble, and tried again.
"""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Callable

import structlog
from cryptography.hazmat.primitives.serialization import Encoding

from edge.backoff import Backoff
from edge.clock import Clock
from edge.errors import EnrolError
from edge.identity import enrol
from edge.identity.client import post
from edge.identity.files import ANEW, Identity, Store, identity_of
from edge.identity.trust import Moment, check_dates, context, moment
from edge.wire.enrol import CONFIRM, ROTATE, RotateRequest, fingerprint_of

log = structlog.get_logger(__name__)
LOOK_S = 3600.0
UNSURE_S = 86_400.0
"""Without a synchronised clock the authority is asked so often, in seconds of the monotonic clock."""


class Keeper:
    """The identity of one device. `open` to `refused` are the uplink's, from its thread."""

    def __init__(self, store: Store, clock: Clock, backoff: Backoff | None = None, device: str = "") -> None:
        """`backoff` paces the questions after a failure; `device` is who the profile says this is."""
        self._store, self._clock, self._device = store, clock, device
        self._wake, self._stop = threading.Event(), threading.Event()
        self._refused = self._tried_next = False
        self._confirmed = ""
        self._asked = clock.monotonic() - UNSURE_S
        self._backoff = backoff or Backoff(base_s=30.0, cap_s=LOOK_S)
        self._renewed: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="identity", daemon=True)
        self.trouble = ""

    def open(self, renewed: Callable[[], None]) -> None:
        """Put right what a power cut left half done, then look after the identity.

        `renewed` is called where the uplink should connect anew.
        """
        self._renewed = renewed
        try:
            self._store.recover()
        except OSError as error:
            log.error("identity_trouble", why=str(error), fix="the data folder must be a writable disk")
        self._thread.start()

    def close(self) -> None:
        """End; what is under way is completed at the next start."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1)

    def context(self) -> ssl.SSLContext:
        """TLS for the next connection: by the next identity where there is one, in turn with the present one.

        EnrolError where there is none to use.
        """
        following = self._store.read(self._store.next)
        self._tried_next = following is not None and not self._tried_next
        file = self._store.next if self._tried_next else self._store.current
        identity = following if self._tried_next else self._store.read(file)
        if identity is None:
            raise EnrolError("not_enrolled", self.trouble or "this device is not enrolled", ANEW)
        if self._device not in {"", identity.device}:
            raise EnrolError("other_device", f"the identity on this disk is {identity.device}'s, but the profile says "
                             f"{self._device}", "was the disk put into another box? put the right one in, or change "
                             "the profile, or enrol this box anew")
        return context(identity.root, file)

    def check(self, shown: bytes | None) -> None:
        """Judge the dates of the broker's certificate (DER); ssl.SSLCertVerificationError where it ran out."""
        check_dates(shown, self._moment())

    def accepted(self) -> None:
        """The broker took the identity that `context` gave: a next one is the present one from now on."""
        self.trouble, self._refused = "", False
        if self._tried_next and self._store.next.exists():
            self._store.promote()
            log.info("identity_rotated")
            self._wake.set()
        self._tried_next = False

    def refused(self) -> str:
        """The broker did not take it: ask the authority soon. What is known of the reason, or nothing."""
        self._refused = True
        self._wake.set()
        return self.trouble

    def _run(self) -> None:
        while not self._stop.is_set():
            least = 0.0
            try:
                if self.step():
                    least = self._backoff.after(0.0, random.Random())  # a broker that goes on refusing is no hurry
            except EnrolError as error:
                self.trouble = str(error)
                least = max(error.retry_s, self._backoff.after(0.0, random.Random()))
                log.warning("identity_trouble", kind=error.kind, why=error.wrong, fix=error.fix, again_s=round(least))
            except OSError as error:
                self.trouble, least = f"the identity's folder cannot be written: {error}", LOOK_S
                log.error("identity_trouble", why=self.trouble, fix="the data folder must be a writable disk")
            self._stop.wait(least)
            self._wake.wait(max(0.0, LOOK_S - least))
            self._wake.clear()

    def step(self) -> bool:
        """Do what is due; whether the authority was asked in vain after a refusal.

        EnrolError where it refuses or does not answer, OSError from the disk.
        """
        pending = self._store.pending()
        if pending is not None and pending.server:
            enrol.send(self._store, pending, self._moment())
            self._came("identity_enrolled")
        present = self._store.read(self._store.current)
        if present is None or not present.server or not self._to_ask(present):
            return False
        told = post(present.server, CONFIRM, None, present.root, self._moment(), self._store.current)
        self._learn(told.t)
        self._confirmed = _serial(present)
        vain, self._refused = self._refused, False
        if told.t < told.due:
            return vain
        self._rotate(present)
        return False

    def _to_ask(self, present: Identity) -> bool:
        at = self._moment()
        unsure = not at.sure and self._clock.monotonic() - self._asked >= UNSURE_S
        return self._refused or unsure or at.latest >= present.due or self._confirmed != _serial(present)

    def _rotate(self, present: Identity) -> None:
        key = self._store.next_key()
        if key is None:
            key = enrol.new_key()
            self._store.keep_next_key(key)
        issued = post(present.server, ROTATE, RotateRequest(csr=enrol.request_for(key, present.device)), present.root,
                      self._moment(), self._store.current)
        if issued.certificate:
            root = fingerprint_of(present.root.public_bytes(Encoding.DER))
            self._store.keep_next(identity_of(issued, key, root, present.server))
            self._came("identity_renewed")

    def _came(self, event: str) -> None:
        log.info(event)
        self.trouble = ""
        self._renewed()

    def _learn(self, t: float) -> None:
        """An authority told the time. A synchronised clock knows better, and may put back a floor that was too high."""
        at = self._moment()
        self._asked = self._clock.monotonic()
        self._store.set_floor(at.now if at.sure else max(t, at.floor))

    def _moment(self) -> Moment:
        return moment(self._clock, self._store.floor())


def _serial(identity: Identity) -> str:
    return f"{identity.certificate.serial_number:x}"
