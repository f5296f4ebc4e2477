"""The wire contract as documents for other programs: JSON Schema and AsyncAPI, generated from `edge.wire`'s types."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import Any

import msgspec
import typer

from edge import wire


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic, the type of its messages, and whether the ingest receives or sends them. All are QoS 1."""

    name: str
    address: str
    message: type[msgspec.Struct]
    received: bool
    retain: bool
    summary: str


_DEVICE = "{device}"
CHANNELS = (
    Channel("data", wire.up(_DEVICE, "data"), wire.Envelope, True, False, "New records, as they come"),
    Channel("backlog", wire.up(_DEVICE, "backlog"), wire.Envelope, True, False, "Records from the outbox"),
    Channel("birth", wire.up(_DEVICE, "birth"), wire.Birth, True, True, "What the device is and has"),
    Channel("state", wire.up(_DEVICE, "state"), wire.State, True, True, "How the device is; also its last will"),
    Channel("committed", wire.committed_topic(_DEVICE), wire.Committed, False, True, "The watermark of a stream"),
    Channel("ingest-state", wire.INGEST_STATE, wire.IngestState, False, True,
            "Whether the ingest listens; also its last will"),
)


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document, from the ingest's side: it receives `up`, and sends the rest."""
    _, schemas = msgspec.json.schema_components(wire.MESSAGES.values(), ref_template="#/components/schemas/{name}")
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Cornergrid wire contract", "version": str(wire.VERSION),
                 "description": inspect.getdoc(wire)},
        "defaultContentType": "application/json",
        "servers": {"device": _server("a device", wire.up(_DEVICE, "state")),
                    "ingest": _server("the ingest", wire.INGEST_STATE)},
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {f"{_action(channel)}-{channel.name}": _operation(channel) for channel in CHANNELS},
        "components": {
            "schemas": schemas,
            "messages": {kind.__name__: _message(kind) for kind in wire.MESSAGES.values()},
        },
    }


def _server(who: str, will: str) -> dict[str, Any]:
    """The one broker as `who` connects to it: a connection's last will is part of the contract."""
    return {
        "host": "{broker}",
        "protocol": "mqtt",
        "protocolVersion": "5.0",
        "description": f"The broker, as {who} connects to it; 3.1.1 works too, without user properties",
        "variables": {"broker": {"description": "HOST:PORT"}},
        "bindings": {"mqtt": {
            "lastWill": {"topic": will, "qos": 1, "retain": True, "message": "the state with `online` false"},
            "bindingVersion": "0.2.0",
        }},
    }


def _channel(channel: Channel) -> dict[str, Any]:
    name = channel.message.__name__
    document: dict[str, Any] = {
        "address": channel.address,
        "summary": channel.summary,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
    }
    if _DEVICE in channel.address:
        document["parameters"] = {"device": {"description": "Device id, the subject of its certificate"}}
    return document


def _action(channel: Channel) -> str:
    return "receive" if channel.received else "send"


def _operation(channel: Channel) -> dict[str, Any]:
    place = f"#/channels/{channel.name}"
    return {
        "action": _action(channel),
        "channel": {"$ref": place},
        "messages": [{"$ref": f"{place}/messages/{channel.message.__name__}"}],
        "bindings": {"mqtt": {"qos": 1, "retain": channel.retain, "bindingVersion": "0.2.0"}},
    }


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    document = {"name": kind.__name__, "summary": inspect.getdoc(kind),
                "payload": {"$ref": f"#/components/schemas/{kind.__name__}"}}
    return document | ({"contentType": wire.CONTENT_TYPE} if kind is wire.Envelope else {})


def text(document: dict[str, Any]) -> str:
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
    typer.echo(text(wire.json_schema()), nl=False)


def _asyncapi() -> None:
    """The AsyncAPI 3.0 document: topics, messages, QoS, what is retained, and the last wills.

    Example: `cornergrid-cloud contract asyncapi > asyncapi.json`
    """
    typer.echo(text(asyncapi()), nl=False)
