"""Kinds of refusals, at the ingest and over HTTP, and what a person makes of each. Pure."""

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
OVER_HTTP = {
    "no_token": "asked without a token", "wrong_token": "an old or mistyped token, or someone guessing",
    "too_many_guesses": "more wrong tokens than an address may try", "revoked_token": "still in use somewhere",
    "expired_token": "still in use somewhere: make another", "ended_session": "a login that is over",
    "other_scope": "asked for more than the token's scope or the server gives",
    "token_in_address": "a token in an address stays in logs: revoke it",
    "foreign_host": "a name that is not this machine (DNS rebinding)", "forwarded": "came through a proxy",
    "past_proxy": "came past the proxy, without TLS",
    "foreign_form": "a login form of another site", "too_long": "address or headers too long",
    "too_large": "body too large", "malformed": "no HTTP", "too_fast": "more requests a second than one token may make",
    "too_many_together": "more requests or streams at once than one token may have",
    "too_many_connections": "more connections than one address, or all, may have",
    "slow_sender": "cut: sent its request too slowly", "slow_reader": "cut: did not take what it asked for",
}
"""What each kind of refusal of the HTTP side means."""


def fix_of(kind: str) -> str:
    """What to do about a kind of refusal."""
    return FIXES.get(kind, LOOK)
