"""Kinds of refusals at the ingest, and what a person does about each. Pure."""

from __future__ import annotations

TOO_FAST = "too_fast"
LOOK = ("an update gone wrong, or an attack: see `cornergrid-cloud quarantine --device`, and revoke the device where "
        "it goes on")
FIXES = {
    "unregistered": "`cornergrid-cloud store add STORE --device DEVICE`; the device keeps its records meanwhile",
    TOO_FAST: "messages were dropped unread: see what runs on this device, and revoke it where it goes on",
    "bad_time": "a wrong clock: see the device's clock, then NTP on the box",
    "foreign_stream": "two boxes have one disk image, or someone repeats another's messages: restart the agent; revoke "
                      "the device where it goes on",
    "foreign_birth": "two boxes have one profile, or an attack: compare `id` in the box's profile with its certificate",
    "too_fragmented": "the oldest records come first from an honest agent: see what runs on this device",
    "unkeepable": "a fault of this program: report it with the payload in the quarantine; the device keeps it too",
}


def fix_of(kind: str) -> str:
    """What to do about a kind of refusal."""
    return FIXES.get(kind, LOOK)
