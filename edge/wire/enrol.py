"""How a device gets its certificate: the label on the sticker, the proof of the claim code, and the messages.

    label    CG1:shop-0042:9K3M-2QXW-7TBD-R:4F7HK-9M2QX-WTBD1-3RSVA[:enrol.example.org:8443]
             device id, claim code, fingerprint of the root certificate, and where the enrolment server is

The code has twelve symbols of Crockford's base 32, 60 bits, and a check symbol over id, code and fingerprint. It never
leaves the device: `claim_seed` makes an Ed25519 key of it, whose public half is all that the server keeps, and the
request is signed with it. So neither the server's database, nor a listener, nor who finds the USB stick has the code,
and no one can put another key into a request that they see.

The fingerprint is the first 100 bits of the SHA-256 of the root certificate (DER). To pass for that root, a stranger
must find a second preimage, 2^100 hashes; the collisions at 2^50 help only who makes the root, and that one is trusted
anyway. All labels of one operator name one root, so many labels do not make the search easier.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from edge.errors import ConfigError, Problem
from edge.wire.messages import END, Device

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LOOKS_LIKE = str.maketrans("ILOU", "110V")
CODE_SYMBOLS = 12
PRINT_SYMBOLS = 20
PREFIX = "CG1"
FORM = "CG1:device:XXXX-XXXX-XXXX-X:XXXXX-XXXXX-XXXXX-XXXXX, and :host:port where the sticker has it"
MAX_REQUEST = 16 * 1024
ENROL, ROTATE, CONFIRM, AUTHORITY = "/v1/enrol", "/v1/rotate", "/v1/confirm", "/v1/ca"
Pem = Annotated[str, Meta(max_length=8192)]
_DEVICE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SERVER = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Label:
    """What a sticker says; `code` and `fingerprint` without hyphens, `server` as HOST:PORT or empty."""

    device: str
    code: str
    fingerprint: str
    server: str = ""

    def __str__(self) -> str:
        code = "-".join((*_groups(self.code, 4), check_symbol(self.device, self.code, self.fingerprint)))
        parts = [PREFIX, self.device, code, "-".join(_groups(self.fingerprint, 5))]
        return ":".join([*parts, self.server] if self.server else parts)

    def __repr__(self) -> str:
        return f"Label({self.device!r}, code hidden)"  # a trace or a log must not show what opens the door

    @property
    def qr(self) -> str:
        """The same in capitals, which a QR code packs into two thirds of the modules (ISO/IEC 18004, alphanumeric)."""
        return str(self).upper()


def _groups(text: str, size: int) -> list[str]:
    return [text[i:i + size] for i in range(0, len(text), size)]


def parse_label(text: str) -> Label:
    """A label as scanned or typed: case, hyphens and spaces do not matter, and O is 0, I and L are 1, U is V.

    ConfigError saying what is wrong with which part.
    """
    parts = "".join(text.split()).split(":", 4)
    if len(parts) < 4 or parts[0].upper() != PREFIX:
        raise _wrong("label", "is not a label of this system", FORM)
    device, server = parts[1].lower(), parts[4].lower() if len(parts) == 5 else ""
    if not _DEVICE.fullmatch(device):
        raise _wrong("device", f"{device!r} is not a device id", "like shop-0042")
    code = _symbols("code", parts[2], CODE_SYMBOLS + 1)
    fingerprint = _symbols("fingerprint", parts[3], PRINT_SYMBOLS)
    if server and not _SERVER.fullmatch(server):
        raise _wrong("server", f"{server!r} is not HOST:PORT", "like enrol.example.org:8443")
    if code[-1] != check_symbol(device, code[:-1], fingerprint):
        raise _wrong("label", "was mistyped somewhere: its check symbol does not fit",
                     "compare device, code and fingerprint with the sticker, or scan it")
    return Label(device, code[:-1], fingerprint, server)


def _symbols(part: str, text: str, count: int) -> str:
    plain = text.replace("-", "").upper().translate(LOOKS_LIKE)
    odd = sorted(set(plain) - set(ALPHABET))
    if odd:
        raise _wrong(part, f"has {' '.join(odd)}, which no label has", "letters and digits only")
    if len(plain) != count:
        raise _wrong(part, f"has {len(plain)} symbols, not {count}", "compare it with the sticker")
    return plain


def _wrong(part: str, wrong: str, fix: str) -> ConfigError:
    return ConfigError("label", (Problem(part, wrong, fix),))


def check_symbol(device: str, code: str, fingerprint: str) -> str:
    """Luhn's check, modulo 32: finds every single mistyped symbol, and neighbours that changed places."""
    total = 0
    for i, symbol in enumerate(reversed((device + code + fingerprint).upper().translate(LOOKS_LIKE).replace("-", ""))):
        value = ALPHABET.index(symbol) * (1 if i % 2 else 2)
        total += value // 32 + value % 32
    return ALPHABET[-total % 32]


def to_symbols(number: int, count: int) -> str:
    """The low 5 * `count` bits of a number in Crockford's base 32, the highest first."""
    return "".join(ALPHABET[number >> 5 * i & 31] for i in reversed(range(count)))


def fingerprint_of(certificate: bytes) -> str:
    """The label's fingerprint of a root certificate (DER)."""
    digest = int.from_bytes(hashlib.sha256(certificate).digest())
    return to_symbols(digest >> 256 - 5 * PRINT_SYMBOLS, PRINT_SYMBOLS)


def claim_seed(label: Label) -> bytes:
    """The 32 bytes of the claim's Ed25519 private key: scrypt (RFC 7914), 16 MiB, so that guessing is dear."""
    salt = f"cornergrid claim 1|{label.device}|{label.fingerprint}".encode()
    return hashlib.scrypt(label.code.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)


def claim_statement(device: str, csr: str) -> bytes:
    """What the claim's key signs: for this device, this certificate request and no other."""
    return f"cornergrid enrol 1\n{device}\n{csr}".encode()


class EnrolRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For the first certificate: a PKCS #10 request (PEM), and the claim key's signature of it, hex.

    It holds no secret, and is what travels on a USB stick.
    """

    v: Literal[1] = 1
    device: Device
    csr: Pem
    proof: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}" + END)]


class RotateRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For the next certificate, over a connection that shows the present one: a request of a new key."""

    v: Literal[1] = 1
    csr: Pem


class Issued(Struct, frozen=True, kw_only=True):
    """The answer: the certificate with what leads to the root. All are PEM, times are Unix seconds.

    `certificate` is empty where a rotation is not due before `due`. `t` is the server's time, authentic because the
    connection (or the certificate, on a stick) is.
    """

    v: Literal[1] = 1
    device: Device
    t: float
    due: float
    certificate: Pem = ""
    chain: Pem = ""
    root: Pem = ""


class Authority(Struct, frozen=True, kw_only=True):
    """`GET /v1/ca`: the root, to be compared with the label's fingerprint before anything else is said."""

    root: Pem


class Refusal(Struct, frozen=True, kw_only=True):
    """Any other answer: a token, what is wrong, what to do, and after how many seconds to try again (0: do not)."""

    kind: str
    wrong: str
    fix: str
    retry_s: float = 0.0
