"""A camera's address, and how it may be shown: names, passwords and tokens in it are told to nobody. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

_KEYS = "user|usr|username|login|pass|pwd|password|passwd|token|auth|secret|key|access_token|sig|signature"
# An @ that comes after a host and a query's secret is a part of that secret, and ends no login.
_NO_LOGIN = rf"(?![\w.\-]*(?::\d+)?/[^@]*\b(?i:{_KEYS})=)"
_URL = re.compile(rf"(?P<scheme>\w+)://(?:{_NO_LOGIN}(?P<login>.*)@)?(?P<host>\[[^\]/]*\]|[^:/?#]*)(?::(?P<port>\d+))?"
                  r"(?P<path>[/?#].*)?", re.DOTALL)


def redact(url: str) -> str:
    """The same address without names, passwords and tokens, for errors and logs."""
    hidden = re.sub(rf"(?s)^([\w+]+:/*){_NO_LOGIN}.*@", r"\1***@", url)
    return re.sub(rf"(?i)\b({_KEYS})=[^&\s]*", r"\1=***", hidden)


@dataclass(frozen=True, slots=True)
class Address:
    """A URL in its parts. Its `repr` shows no secret.

    Everything up to the last @ is the login, so that a password may hold any of `@ / : ? #`, as it was typed or
    percent-encoded; FFmpeg and urllib would take it for a part of the host or the path.
    """

    scheme: str
    host: str
    port: int | None
    path: str = field(repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Address:
        """The parts of a URL; all but the path are empty where it is none."""
        found = _URL.fullmatch(url)
        if found is None:
            return cls("", "", None, url)
        user, _, password = (found["login"] or "").partition(":")
        port = int(found["port"]) if found["port"] else None
        return cls(found["scheme"].lower(), found["host"], port, found["path"] or "", unquote(user), unquote(password))

    @property
    def bare(self) -> str:
        """The URL without its login."""
        if not self.scheme:
            return self.path
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}"

    @property
    def full(self) -> str:
        """The URL with its login percent-encoded, for a library that opens it."""
        if not self.user and not self.password:
            return self.bare
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@"
        return self.bare.replace("://", f"://{login}", 1)

    @property
    def shown(self) -> str:
        """The URL as it may be shown."""
        return redact(self.full) if self.scheme else redact(self.path)
