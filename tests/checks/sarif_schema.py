"""The part of the SARIF 2.1.0 schema that a log of ours touches, written from the standard's sections 3.13 to 3.58:
required properties, enumerations and types; nothing else may be there."""

from __future__ import annotations

from typing import Any


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


_TEXT: dict[str, Any] = {"type": "string"}
_LEVEL: dict[str, Any] = {"enum": ["none", "note", "warning", "error"]}
_MESSAGE = _object(("text",), text={"type": "string", "minLength": 1})
_ARTIFACT = _object(uri={"type": "string", "format": "uri-reference"}, index={"type": "integer", "minimum": -1})
_LOCATION = _object(
    physicalLocation=_object(artifactLocation=_ARTIFACT, region=_object(startLine={"type": "integer", "minimum": 1})),
    logicalLocations={
        "type": "array",
        "uniqueItems": True,
        "items": _object(name=_TEXT, fullyQualifiedName=_TEXT, kind=_TEXT),
    },
)
_LOCATIONS: dict[str, Any] = {"type": "array", "items": _LOCATION}
_RULE = _object(
    ("id",),
    id=_TEXT,
    name=_TEXT,
    shortDescription=_MESSAGE,
    fullDescription=_MESSAGE,
    help=_MESSAGE,
    defaultConfiguration=_object(level=_LEVEL),
)
_RESULT = _object(
    ("message",),
    ruleId=_TEXT,
    ruleIndex={"type": "integer", "minimum": -1},
    level=_LEVEL,
    message=_MESSAGE,
    locations=_LOCATIONS,
    partialFingerprints={"type": "object", "additionalProperties": _TEXT},
    properties={"type": "object"},
)
_NOTIFICATION = _object(("message",), level=_LEVEL, message=_MESSAGE, locations=_LOCATIONS)

SARIF = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **_object(
        ("version", "runs"),
        **{"$schema": {"type": "string", "format": "uri"}},
        version={"enum": ["2.1.0"]},
        runs={
            "type": "array",
            "items": _object(
                ("tool",),
                tool=_object(
                    ("driver",),
                    driver=_object(
                        ("name",),
                        name=_TEXT,
                        version=_TEXT,
                        rules={"type": "array", "uniqueItems": True, "items": _RULE},
                    ),
                ),
                columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                invocations={
                    "type": "array",
                    "items": _object(
                        ("executionSuccessful",),
                        executionSuccessful={"type": "boolean"},
                        toolExecutionNotifications={"type": "array", "items": _NOTIFICATION},
                    ),
                },
                results={"type": "array", "items": _RESULT},
            ),
        },
    ),
}
