"""How a simulated camera asks for its name and password: digest access, as real cameras do (RFC 2617, without qop)."""

from __future__ import annotations

import hashlib
import hmac
import re

from edge.vision.cameras.address import Address

REALM, NONCE = "virtual camera", "5d41402abc4b2a76b9719d911017c592"


class Login:
    """Whom a camera lets look: all, where its address has no name and password."""

    def __init__(self, address: Address) -> None:
        self._user, self._password = address.user, address.password

    @property
    def challenge(self) -> str:
        """What `WWW-Authenticate` says."""
        return f'Digest realm="{REALM}", nonce="{NONCE}"'

    def accepts(self, authorization: str, method: str) -> bool:
        """Whether a request's `Authorization` proves the password."""
        if not self._user and not self._password:
            return True
        said = dict(re.findall(r'(\w+)="([^"]*)"', authorization))
        secret = _md5(f"{self._user}:{REALM}:{self._password}")
        asked = _md5(f"{method}:{said.get('uri', '')}")
        proof = _md5(f"{secret}:{NONCE}:{asked}")
        return said.get("username") == self._user and hmac.compare_digest(proof, said.get("response", ""))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
