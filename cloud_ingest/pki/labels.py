"""Labels for people: a QR code on the terminal, as PNG, and many on a sheet for the printer.

A label with a server's name is a QR code of version 4 or 5 with error correction M: 45 modules at most with its
margin, 0.9 mm each on a sticker of 40 mm, which any phone reads. What is written here opens a door once, so the files
are their owner's only.
"""

from __future__ import annotations

import html
import io
from collections.abc import Iterable
from pathlib import Path

import segno

from cloud_ingest.pki.folder import write
from edge.wire.enrol import Label

SHEET = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Cornergrid labels</title><style>
@page {{ size: A4; margin: 10mm }}
body {{ font: 7.5pt/1.25 ui-monospace, monospace; margin: 0; display: flex; flex-wrap: wrap; gap: 4mm }}
figure {{ width: 60mm; margin: 0; padding: 2mm; border: 0.2mm dashed #999; break-inside: avoid; text-align: center }}
figure svg {{ width: 40mm; height: 40mm }}
figcaption {{ overflow-wrap: anywhere }}
strong {{ font-size: 11pt }}
</style></head><body>
{figures}
</body></html>
"""
FIGURE = "<figure>{svg}<figcaption><strong>{device}</strong><br>{text}</figcaption></figure>"


def qr_of(label: Label) -> segno.QRCode:
    """The label's QR code; a fifth of it may be scratched."""
    return segno.make_qr(label.qr, error="m")


def terminal(label: Label) -> str:
    """The QR code in half blocks, for a terminal with a dark or a light ground."""
    text = io.StringIO()
    qr_of(label).terminal(text, compact=True)
    return text.getvalue()


def write_png(label: Label, folder: Path) -> Path:
    """The QR code as `FOLDER/DEVICE.png`."""
    image = io.BytesIO()
    qr_of(label).save(image, kind="png", scale=8)
    file = folder / f"{label.device}.png"
    write(file, image.getvalue(), secret=True)
    return file


def write_sheet(labels: Iterable[Label], file: Path) -> None:
    """All labels as one page for a browser to print, stickers of 60 mm with codes of 40 mm."""
    figures = "\n".join(FIGURE.format(
        svg=qr_of(each).svg_inline(omitsize=True), device=html.escape(each.device),
        text=html.escape(str(each))) for each in labels)
    write(file, SHEET.format(figures=figures), secret=True)
