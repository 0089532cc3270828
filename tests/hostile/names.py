"""Names that attack whatever shows them: valid models, that every report must show without harm."""

from __future__ import annotations

from onnx import ModelProto, StringStringEntryProto

from .build import bare, integers, linear, mlp, model, node, value, weight
from .case import Case, Maker, refused

TEXTS: dict[str, str] = {
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;",
    "SVG": "<svg onload=alert(1)><foreignObject>]]>--><!--",
    "DOT": 'a"]; b [URL="javascript:alert(1)" label=<<b>x</b>>]; "\\N\\G\\l{|}',
    "shell": "$(touch owned) `touch owned`; touch owned | cat & touch owned > owned",
    "options": "--output=owned -o owned",
    "template": "{{7*7}} {%import os%} ${7*7} #{7*7} <%= 7*7 %>",
    "format": "%s%s%n%x {0.__class__.__mro__} {} %(name)s",
    "CSV formula": '=HYPERLINK("http://127.0.0.1","x")',
    "CSV formula with quotes": "=1+1\",\"=cmd|' /C calc'!A0",
    "CSV plus": "+1+1",
    "CSV minus": "-1+1",
    "CSV at": "@SUM(1)",
    "CSV tab": "\t=1+1",
    "CSV line break": 'a"\r\n=1+1,b',
    "Markdown": "| a | b |\n|---|---|\n[x](javascript:alert(1)) ![x](http://127.0.0.1/x.png) `` ` `` **b** <b>",
    "Markdown pipes": "a|b\\|c\\\\|d",
    "rich markup": "[bold red]x[/bold red] [link=file:///etc/passwd]y[/link] [/] [/nothing] [@click=quit]z",
    "rich emoji": ":pile_of_poo: :warning:",
    "escape codes": "\x1b[31mred\x1b[0m\x1b[2J\x1b[H\x1b]0;title\x07",
    "clipboard": "\x1b]52;c;b3duZWQ=\x07\x1bP$q\x1b\\",
    "C1 codes": "\x9b31mred\x9d52;c;b3duZWQ=\x9c\x85\x90",
    "hyperlink": "\x1b]8;;http://127.0.0.1\x1b\\click\x1b]8;;\x1b\\",
    "carriage return": "error: all good\rerror: really",
    "backspaces": "bad\b\b\bgood\x7f\x7f",
    "bell, vertical tab, form feed": "\a\v\f\0\x01\x1f",
    "bidi": "\u202etxt.exe\u2066\u2067\u2068\u2069\u202a\u200f\u061c",
    "zero width": "fc\u200b1\u200c\u200d\u2060\ufeff\u00ad\U000e0041",
    "line separators": "a\u2028b\u2029c\x85d\x1cd\x1ee",
    "GitHub command": "x\n::error::owned\n::set-env name=A::b\n##[error]owned",
    "Azure command": "x\n##vso[task.setvariable variable=a]b",
    "TeamCity command": "x\n##teamcity[buildStatus status='SUCCESS']",
    "GitLab section": "x\nsection_start:1:owned\r\x1b[0K",
    "command as the whole name": "::error::owned",
    "non-characters": "a\ufffe\uffff\U0001fffe\ufdd0",
    "not a number": "NaN",
    "infinity": "-Infinity",
    "null": "null",
    "Windows device": "CON",
    "Windows path": "C:\\Windows\\system32",
    "path": "../../../../etc/passwd",
    "absolute path": "/etc/passwd",
    "blank": " ",
    "blanks": " \u3000\xa0\u2003 ",
    "prototype": "__proto__",
    "accents": "Z\u0300\u0301\u0302" * 300,
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈 模型 ﷽",
    "long": "n" * 5000,
    "slashes": "////a//b///",
    "dots": "..a...b..",
    "quotes": "\"'`\\\"\\'",
}


def named(text: str) -> ModelProto:
    """The MLP with ``text`` in every name: weights, values, ops, sizes, producer, scopes and documentation."""
    made = mlp()
    new = {"w1": text, "b1": f"{text} bias", "h": f"{text} value", "x": f"{text} in", "y": f"{text} out"}
    for tensor in made.graph.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
        tensor.doc_string = text
    for op in made.graph.node:
        op.input[:] = [new.get(name, name) for name in op.input]
        op.output[:] = [new.get(name, name) for name in op.output]
        op.name = f"{text}/{op.name}"
        op.doc_string = text
        op.metadata_props.append(StringStringEntryProto(key="namespace", value=f": {text}/fc1: {text}"))
    for end in (*made.graph.input, *made.graph.output):
        end.name = new[end.name]
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = text
    made.graph.name = made.producer_name = made.producer_version = made.domain = made.doc_string = text
    made.metadata_props.append(StringStringEntryProto(key=text, value=text))
    return made


def foreign(text: str) -> ModelProto:
    """An op whose type and domain are ``text``: shown among what could not be labelled."""
    return model([node(text, ["x", "w1"], ["y"], text, text)], weights=[weight("w1", 4, 4)], domains={text: 1})


def broken(text: str) -> ModelProto:
    """A tensor named ``text`` that is too short: the error shows the name."""
    return linear(bare(text, [4, 4], raw_data=b"1234"))


def missing(text: str) -> ModelProto:
    return model([node("Relu", [text], ["y"], text)])


def reshaped(text: str) -> ModelProto:
    """A notice or a reason shows the name of an op."""
    return model(
        [node("Reshape", ["w1", "s"], ["v"], text), node("MatMul", ["x", "v"], ["y"], "fc1")],
        inputs=[value("x", [1, 4])],
        weights=[weight("w1", 4, 6), integers("s", 5, 5)],
    )


SHOWN = ("escape codes", "bidi", "GitHub command", "rich markup", "CSV line break", "HTML", "Markdown pipes")


def shown(name: str, make: Maker) -> Case:
    return Case(name, "OK", make, shown=True)


def shown_in_a_reason(name: str, make: Maker) -> Case:
    return Case(name, "W", make, "w1", shown=True)


CASES: tuple[Case, ...] = (
    *(shown(f"{what}, everywhere", lambda _, text=text: named(text)) for what, text in TEXTS.items()),
    *(shown(f"{what}, as op type and domain", lambda _, what=what: foreign(TEXTS[what])) for what in SHOWN),
    *(shown_in_a_reason(f"{what}, in a reason", lambda _, what=what: reshaped(TEXTS[what])) for what in SHOWN),
    *(refused(f"{what}, in an error", lambda _, what=what: broken(TEXTS[what])) for what in SHOWN),
    *(refused(f"{what}, unknown value", lambda _, what=what: missing(TEXTS[what])) for what in SHOWN),
)
