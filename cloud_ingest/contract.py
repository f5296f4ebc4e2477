"""The wire contract as documents for other programs: JSON Schema and AsyncAPI, generated from `edge.wire`'s types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec
import typer

from edge import wire


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic: who sends which message on it, and whether the broker retains it. Everything is QoS 1."""

    name: str
    address: str
    message: str
    by_device: bool
    retain: bool
    summary: str


_DEVICE = "{device}"
CHANNELS = (
    Channel("data", f"{wire.ROOT}/{_DEVICE}/up/data", "envelope", True, False, "Records as they are made"),
    Channel("backlog", f"{wire.ROOT}/{_DEVICE}/up/backlog", "envelope", True, False,
            "Records made while the shop was offline; `h` is true"),
    Channel("birth", f"{wire.ROOT}/{_DEVICE}/up/birth", "birth", True, True, "What the device is and has"),
    Channel("state", f"{wire.ROOT}/{_DEVICE}/up/state", "state", True, True, "Whether the device is online; last will"),
    Channel("committed", f"{wire.ROOT}/{_DEVICE}/down/committed", "committed", False, True,
            "Up to where the cloud's database has a stream: the device may delete up to there"),
    Channel("ingestState", wire.INGEST_STATE, "ingest-state", False, True, "Whether the ingest is there; last will"),
)
PROPERTIES = {
    "type": "object",
    "description": "MQTT 5 user properties of a batch: CloudEvents 1.0 in binary mode. MQTT 3.1.1 goes without.",
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "description": "stream/first sequence: the same for a repeat"},
        "source": {"type": "string", "description": "/ and the device id"},
        "type": {"type": "string", "description": "cornergrid.batch.v1"},
    },
}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document, told from the device's side: it sends `up`, and receives the rest."""
    _, schemas = msgspec.json.schema_components(wire.MESSAGES.values(), ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Cornergrid wire contract",
            "version": f"{wire.VERSION}.0.0",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "description": f"MQTT 5 (3.1.1 works too), QoS 1. At most {wire.MAX_PAYLOAD} bytes and "
                           f"{wire.MAX_RECORDS} records a message. Delivery is at least once: a record is told apart "
                           "by its stream and sequence.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "device": _server("The broker, as a device connects to it",
                              f"{wire.ROOT}/{_DEVICE}/up/state", '{"online":false, with the boot of this run}'),
            "ingest": _server("The broker, as the ingest connects to it", wire.INGEST_STATE,
                              wire.encode(wire.IngestState(online=False)).decode()),
        },
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {_operation_name(channel): _operation(channel) for channel in CHANNELS},
        "components": {
            "schemas": {**schemas, "BatchProperties": PROPERTIES},
            "messages": {name: _message(name, kind.__name__) for name, kind in wire.MESSAGES.items()},
        },
    }


def _server(description: str, topic: str, will: str) -> dict[str, Any]:
    return {
        "host": "{broker}",
        "protocol": "mqtt",
        "protocolVersion": "5.0",
        "description": description,
        "variables": {"broker": {"description": "HOST:PORT of the site's own broker"}},
        "bindings": {"mqtt": {"cleanSession": False, "bindingVersion": "0.2.0",
                              "lastWill": {"topic": topic, "qos": 1, "retain": True, "message": will}}},
    }


def _channel(channel: Channel) -> dict[str, Any]:
    document: dict[str, Any] = {
        "address": channel.address,
        "summary": channel.summary,
        "messages": {channel.message: {"$ref": f"#/components/messages/{channel.message}"}},
    }
    if _DEVICE in channel.address:
        document["parameters"] = {"device": {"description": "Device id, the certificate's subject"}}
    return document


def _operation_name(channel: Channel) -> str:
    return f"{'send' if channel.by_device else 'receive'}{channel.name[0].upper()}{channel.name[1:]}"


def _operation(channel: Channel) -> dict[str, Any]:
    return {
        "action": "send" if channel.by_device else "receive",
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "summary": channel.summary,
        "bindings": {"mqtt": {"qos": 1, "retain": channel.retain, "bindingVersion": "0.2.0"}},
    }


def _message(name: str, schema: str) -> dict[str, Any]:
    message: dict[str, Any] = {"name": name, "payload": {"$ref": f"#/components/schemas/{schema}"}}
    if name == "envelope":
        message |= {"contentType": wire.CONTENT_TYPE, "headers": {"$ref": "#/components/schemas/BatchProperties"}}
    return message


def to_text(document: dict[str, Any]) -> str:
    """A document as JSON for people and diffs: the same types give the same bytes."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def register(app: typer.Typer) -> None:
    """Add the commands `contract schema` and `contract asyncapi`."""
    contract = typer.Typer(no_args_is_help=True, help="The wire contract as documents for other programs.")
    contract.command("schema")(_schema)
    contract.command("asyncapi")(_asyncapi)
    app.add_typer(contract, name="contract")


def _schema() -> None:
    """JSON Schema (2020-12) of every message.

    Example: `cornergrid-cloud contract schema > schema.json`
    """
    typer.echo(to_text(wire.json_schema()), nl=False)


def _asyncapi() -> None:
    """The AsyncAPI 3.0 document: topics, messages, QoS, retained messages and last wills.

    Example: `cornergrid-cloud contract asyncapi > asyncapi.json`
    """
    typer.echo(to_text(asyncapi()), nl=False)
