"""Takes secrets out of what leaves the box: those that are known, and whatever has the look of one. Pure.

Known are the logins in the profile's addresses, and the private keys and enrolments of the identity. The look: logins
in any address, private keys, claim codes, and values behind names like `password`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote

from edge.vision.cameras.address import Address, redact

HIDDEN = "***"
SHORTEST, SHORT = 4, 8
"""A known secret of fewer characters than the first is found by its look only, and one of fewer than the second where
it stands alone: such words stand everywhere."""
_NAMES = r"passw(?:or)?d|passwd|pwd|pass|secret|token|api_?key|private_?key|claim(?:_?code)?"
_NAMED = re.compile(rf"(?i)(?:\w*_)?(?:{_NAMES}|authorization)")
_SLASHES = re.compile(r"^(\w+):/+")
_QUERY = re.compile(rf"(?i)\b(?:\w+_)?(?:{_NAMES}|user|usr|username|login|auth|sig|signature|key)=([^&\s]+)")
# Begins only where a word does: from within a long word, each letter would be tried anew.
_URL = re.compile(r"(?<![\w+])[\w+]+:/+[^\s\"'<>]+")
_KEY_OVER_LINES = re.compile(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.{0,8192}?-----END [A-Z ]*PRIVATE KEY-----")
_PATTERNS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"(?i)\b(CG1:[a-z0-9-]+):[^\s\"']+"), rf"\1:{HIDDEN}"),
    # A claim code as it stands on a sticker: 4, 4, 4 and 1 symbols of Crockford's base 32.
    (re.compile(r"(?i)(?<![\w-])[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z*~$=](?![\w-])"), HIDDEN),
    (re.compile(r"(?i)\bcgt_[0-9a-f]{8}_[0-9a-f]*"), HIDDEN),  # a token of the cloud's HTTP side, or a part of one
    (re.compile(r"(?i)\b(authorization[\"']?\s*[=:]).*"), rf"\1 {HIDDEN}"),
    (re.compile(rf"(?i)\b((?:\w+_)?(?:{_NAMES})[\"']?\s*[=:]\s*)[\"']?[^\s\"',}}&]+[\"']?"), rf"\1{HIDDEN}"),
)


class Scrubber:
    """Replaces secrets by `***`."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        forms = {form for secret in known for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}
        longest_first = sorted((form for form in forms if len(form) >= SHORTEST), key=len, reverse=True)
        self._known = re.compile("|".join(map(_found, longest_first)) or r"(?!)")

    def text(self, text: str) -> str:
        """Any text without its secrets."""
        text = self._known.sub(HIDDEN, text)
        text = _URL.sub(lambda found: redact(found[0]), text)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text

    def tree(self, value: Any) -> Any:
        """Parsed JSON or TOML without its secrets, in the same shape."""
        if isinstance(value, dict):
            return {self.text(str(name)): HIDDEN if _NAMED.fullmatch(str(name)) and isinstance(each, str)
                    else self.tree(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(each) for each in value]
        return self.text(value) if isinstance(value, str) else value

    def lines(self, text: str) -> str:
        """Lines of a log, of which some are JSON."""
        return "".join(f"{self._line(line)}\n" for line in _KEY_OVER_LINES.sub(HIDDEN, text).splitlines())

    def _line(self, line: str) -> str:
        head, brace, rest = line.partition("{")
        if brace and len(head) <= SHORTEST:  # the journal's level may stand before it
            try:
                return self.text(head) + json.dumps(self.tree(json.loads(brace + rest)))
            except ValueError:
                return self.text(line)
        return self.text(line)


def secrets_of(value: Any) -> Iterator[str]:
    """The secrets in a parsed profile: logins, and what is named like one."""
    if isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, str) and _NAMED.fullmatch(str(name)):
                yield each
            yield from secrets_of(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from secrets_of(each)
    elif isinstance(value, str):
        address = Address.parse(_SLASHES.sub(r"\1://", value))
        parts = [address.user, address.password, *_QUERY.findall(value)]
        yield from (form for part in parts if part for form in {part, unquote(part)})


def _found(secret: str) -> str:
    alone = len(secret) < SHORT
    return rf"(?<![\w.]){re.escape(secret)}(?!\w)" if alone else re.escape(secret)


def secrets_of_key(text: str) -> Iterator[str]:
    """Each line of the private keys in PEM text: no part of a key is told either."""
    blocks = re.findall(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)-----END", text.replace("\\n", "\n"), re.DOTALL)
    return (line.strip() for block in blocks for line in block.splitlines() if line.strip())
