"""The first lines of a profile that is not there yet: who the device is, its broker, and where it keeps its data."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge import wizard
from edge.commissioning.person import Answers, Person
from edge.errors import ConfigError, Problem
from edge.wire.enrol import parse_label

DATA = "/var/lib/cornergrid"
TLS_PORT = 8883


def begin(path: Path, answers: Answers, person: Person) -> Answers:
    """Write a profile without any sensor yet; the answers, with the label where one was asked for.

    A wrong answer is told and asked for again; ConfigError where nobody is there to ask.
    """
    person.tell(f"{path} is not there yet: it is made now")
    answers = _label(answers, person)
    label = parse_label(answers.label) if answers.label else None
    host = label.server.rpartition(":")[0] if label else ""
    device, broker, data = label.device if label else "", f"{host}:{TLS_PORT}" if host else "", DATA
    while True:
        device = answers.device or (device if label else person.ask("this device's id, like shop-0042", device))
        broker = answers.broker or person.ask("the broker, HOST:PORT", broker)
        data = str(Path(answers.data or person.ask("the folder for its data", data)).absolute())
        made = wizard.Answers(device=device, broker=broker, data=data, tls=label is not None, made_by="commission")
        try:
            if not device or not broker:
                raise ConfigError(str(path), (Problem("file", "is not there, and nobody says which device this is",
                                                      "add --label-file, or device and broker to --answers"),))
            wizard.write(made, path)
        except ConfigError as error:
            if not person.there or _all_given(answers):
                raise
            person.tell(str(error))
        else:
            return answers


def _label(answers: Answers, person: Person) -> Answers:
    while not answers.label:
        text = person.ask("scan or type the label on the sticker (Enter: none)")
        if not text:
            break
        try:
            parse_label(text)
        except ConfigError as error:
            person.tell(str(error))
        else:
            answers = msgspec.structs.replace(answers, label=text)
    return answers


def _all_given(answers: Answers) -> bool:
    """Whether asking again changes nothing."""
    return bool((answers.device or answers.label) and answers.broker and answers.data)
