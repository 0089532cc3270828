"""Collects what is odd but does not stop the analysis, without letting a hostile file flood the report.

========================= ===========================================================================================
``attribute-not-given``   a function's node refers to an attribute its call does not give
``control-flow-kept``     an If, Loop or Scan whose arity disagrees with its bodies is not entered
``duplicate-field``       a protobuf field that should be given once is given twice, and was merged
``duplicate-opset``       an operator set is imported twice
``empty-graph``           no ops and no outputs
``external-key``          external data has an entry onnx.proto does not define
``external-missing``      a file of external data is not there, or cannot be opened
``external-overlap``      two tensors share some but not all of their bytes
``external-unused``       a tensor stored in the model names external data too
``function-too-large``    a function written out would be too large; its calls stay calls
``future-opset``          a newer operator set than the installed onnx knows
``impossible-opset``      an operator set below 1
``impossible-size``       a declared size that is negative or above 2^40
``input-not-given``       a function is called with fewer inputs than it has
``input-without-type``    a graph input without a type
``missing-ir-version``    no IR version
``missing-opset``         no operator set is imported
``over-2gib``             a file no runtime can load
``shadowed-op``           a function of the file has the name of a standard op
``undeclared-attribute``  a function's node refers to an attribute the function does not declare
``undeclared-domain``     an op of a domain that is not imported
``unknown-overload``      a call of a function overload the file does not have
``unsorted-nodes``        nodes in another order than they can run in
========================= ===========================================================================================
"""

from __future__ import annotations

from graphneurons.errors import printable
from graphneurons.graph import Notice

_PER_CODE = 20


class Notices:
    """An ordered collection: at most twenty notices of one code, then one line that says how many more there were."""

    def __init__(self) -> None:
        self._found: dict[str, dict[tuple[str, str], None]] = {}
        self._more: dict[str, int] = {}

    def add(self, code: str, where: str, message: str) -> None:
        found = self._found.setdefault(code, {})
        where, message = printable(where), printable(message, 1000)
        if (where, message) in found:
            return
        if len(found) < _PER_CODE:
            found[where, message] = None
        else:
            self._more[code] = self._more.get(code, 0) + 1

    def all(self) -> tuple[Notice, ...]:
        listed = [Notice(code, *entry) for code, found in self._found.items() for entry in found]
        listed += [Notice(code, "", f"{count} more of the kind {code!r}") for code, count in self._more.items()]
        return tuple(listed)
