"""The way to the cloud: who this device is, what the broker lets it do, a reading that comes back, and the drill."""

from __future__ import annotations

import dataclasses
import shutil
import threading

from edge import wire
from edge.agent import BUILT, link_of, terms_of
from edge.check import check
from edge.clock import HonestClock
from edge.commissioning.place import Place, ok, skipped, warning
from edge.commissioning.state import Outcome
from edge.drill.cases import CASES
from edge.drill.command import run as run_drill
from edge.errors import ConfigError, Problem
from edge.identity import enrol
from edge.identity.files import Identity, Store
from edge.identity.sign import fingerprint
from edge.identity.trust import moment
from edge.uplink.buffer import Buffer
from edge.uplink.publisher import Publisher
from edge.uplink.session import Address, Ears, Session
from edge.wire.enrol import parse_label

SHORT = ("kill", "torn-write", "blackhole")
"""The drill's short form: the three that happen in any shop."""
WEEK_S = 7 * 86_400.0
FOREIGN = "cg-not-mine"
NOT_ENROLLED = "ask the operator for a label, and run this again: it asks for the label"


def identity(place: Place) -> Outcome:
    """The device's certificate: got with the label where there is none yet."""
    store = Store(place.profile.device.identity)
    store.recover()
    known = store.read(store.current)
    if known is None or _is_new(store, place):
        if not place.profile.uplink.secure:
            return skipped("the broker is on this machine and open to it: no certificate is needed")
        known = _enrol(store, place)
    if known is None:
        return warning("this device has no certificate", NOT_ENROLLED)
    return _judged(known, place)


def _is_new(store: Store, place: Place) -> bool:
    """Whether a label was given with the command that another enrolment than the present one is for."""
    return bool(place.answers.label) and enrol.already(store, parse_label(place.answers.label)) is None


def _enrol(store: Store, place: Place) -> Identity | None:
    answers, device = place.answers, place.profile.device.id
    text = answers.label or place.person.ask("scan or type the label on the sticker (Enter: none)")
    if text:
        label = parse_label(text)
        if label.device != device:
            raise ConfigError("label", (Problem("device", f"the label is for {label.device}, the profile's device is "
                                                f"{device}", "use the sticker of this box, or change the profile"),))
        server = answers.server.lower() or label.server
        pending = enrol.begin(store, dataclasses.replace(label, server=server))
    else:
        began = store.pending()
        if began is None:
            return None
        pending = began
    if not pending.server:
        raise ConfigError("label", (Problem("server", "the label names no server", "add --server HOST:PORT"),))
    return enrol.send(store, pending, moment(place.clock, store.floor()))


def _judged(known: Identity, place: Place) -> Outcome:
    now, days = place.clock.now(), (known.ends - known.begins) / 86_400
    if known.device != place.profile.device.id:
        return warning(f"the certificate is {known.device}'s", "was the disk put into another box? enrol this one anew")
    if not known.begins - 300 <= now <= known.ends:
        return warning("the certificate does not hold at the clock's time", "set the clock; the agent renews it")
    found = f"{known.device}, a certificate for {days:.0f} days, renewed by itself"
    if known.ends - now < min(WEEK_S, days * 86_400 / 3):
        return warning(f"{found}; it ends in {(known.ends - now) / 86_400:.0f} days", "is the authority reachable?")
    return ok(found, fingerprint=fingerprint(known), ends=known.ends)


def checked(part: str, place: Place) -> Outcome:
    """One part of `cornergrid-edge check`: `clock`, `disk` or `uplink`."""
    bare = place.profile.model_copy(update={"sensors": (), "cameras": ()})
    for each in check(bare, place.clock, patience_s=place.patience_s):
        if each.part == part:
            return ok(each.found) if each.ok else warning(each.found, each.fix)
    raise AssertionError(f"check has no {part}")


def foreign(place: Place) -> Outcome:
    """Publish to another device's topic: the broker must refuse it."""
    if not place.profile.uplink.secure:
        return skipped("the broker is on this machine and open to it: it tells no device from another")
    link = link_of(place.profile, place.clock)
    return kept_apart(dataclasses.replace(link.address, visitor=True), place)


def kept_apart(address: Address, place: Place) -> Outcome:
    """Whether the broker at an address refuses what is not this device's."""
    up, answered = threading.Event(), threading.Event()
    refused: list[str] = []
    trouble: list[str] = []

    def say_no(_mid: int, why: str) -> None:
        refused.append(why)
        answered.set()

    session = Session(address, place.clock, None, Ears(
        up.set, lambda _topic, _payload: None, say_no, trouble.append, lambda _mid: answered.set()))
    session.open()
    try:
        if not up.wait(place.patience_s):
            why = f": {trouble[-1]}" if trouble else ""
            return warning(f"{address.host}:{address.port} does not let this device in{why}", "network, address, "
                           "certificate; `cornergrid-edge status`")
        session.publish(wire.up(FOREIGN, "data"), b"{}", "foreign", 1)
        answered.wait(place.patience_s)
    finally:
        session.close()
    if refused:
        return ok(f"{address.host}:{address.port} by TLS, and it proved itself; another device's topic is refused: "
                  f"{refused[0]}")
    what = "took a message for another device's topic" if answered.is_set() else "said nothing to a foreign message"
    return warning(f"{address.host}:{address.port} {what}",
                   "its access list must let a device write its own topics only: `cornergrid-cloud broker config`")


def short_drill(place: Place) -> Outcome:
    """Kill, torn write and silent network, practised on this box's own disk."""
    folder = place.data / "drill"
    outcomes = list(run_drill(folder, [case for case in CASES if case.name in SHORT], seed=1))
    told = ", ".join(f"{each.case} {each.put} kept, {each.lost} lost, {each.twice} twice" for each in outcomes)
    bad = [f"{each.case}: {each.note}" for each in outcomes if not each.ok]
    if bad:
        return warning(f"{told}; not passed: {'; '.join(bad)}", f"see {folder}, and run `cornergrid-edge drill`")
    shutil.rmtree(folder, ignore_errors=True)
    return ok(told)


def send_up(place: Place, facts: list[wire.Fact], *, waits: bool) -> bool:
    """Put facts into the device's own outbox; whether the cloud committed them in time. The agent goes on otherwise.

    Without `waits` they are left to the agent at once.
    """
    clock = place.clock
    buffer = Buffer(place.profile.device.outbox, clock, terms=terms_of(place.profile))
    try:
        if isinstance(clock, HonestClock):
            clock.begin(max(BUILT, buffer.tally.floor))
            buffer.turn(clock.era)
        last = buffer.put(facts)
        if not waits:
            return False
        link = link_of(place.profile, clock)
        link = dataclasses.replace(link, address=dataclasses.replace(link.address, visitor=True))
        publisher = Publisher(link, buffer, clock)
        publisher.start()
        try:
            publisher.wake()
            return publisher.wait_committed(last, place.patience_s)
        finally:
            publisher.stop()
    finally:
        buffer.close()
