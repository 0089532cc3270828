"""What a file that is not an ONNX model looks like, and what to do about it. Nothing of it is parsed."""

from __future__ import annotations

from collections.abc import Callable

_EXPORT = "export the model to ONNX first"
_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the model itself; fetch it with `git lfs pull`"),
    (b"\x7fELF", "an ELF program or library, not a model"),
    (b"MZ", "a Windows program or library, not a model"),
    (b"\x89HDF\r\n\x1a\n", f"an HDF5 file (Keras .h5); {_EXPORT}"),
    (b"GGUF", f"a GGUF file (llama.cpp): weights without a graph; {_EXPORT}"),
    (b"\x93NUMPY", "a NumPy array, not a model"),
    (b"\x1f\x8b", "a gzip archive; unpack it and give the .onnx file inside"),
    (b"BZh", "a bzip2 archive; unpack it and give the .onnx file inside"),
    (b"\xfd7zXZ\x00", "an xz archive; unpack it and give the .onnx file inside"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it and give the .onnx file inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it and give the .onnx file inside"),
    (b"Rar!", "a RAR archive; unpack it and give the .onnx file inside"),
    (b"\x89PNG", "a PNG picture, not a model"),
    (b"%PDF", "a PDF document, not a model"),
    (b"#!", "a script, not a model"),
)
_ZIPS: tuple[tuple[bytes, str], ...] = (
    (b"archive_format", "a PyTorch exported program (.pt2)"),
    (b"models/model.json", "a PyTorch exported program (.pt2)"),
    (b"serialized_exported_program", "a PyTorch exported program (.pt2)"),
    (b"data.pkl", "a PyTorch checkpoint or TorchScript archive (.pt)"),
    (b"metadata.json", "a Keras archive (.keras)"),
    (b".npy", "a NumPy archive (.npz)"),
)


def looks_like(head: bytes) -> str | None:
    """What the first few kilobytes of a file say it is, with advice, as the end of "this is ..."; None if unknown."""
    if head.startswith(b"PK\x03\x04"):
        found = next((words for mark, words in _ZIPS if mark in head), None)
        return f"{found}; {_EXPORT}" if found else "a zip archive; unpack it and give the .onnx file inside"
    if head[4:8] == b"TFL3":
        return f"a TensorFlow Lite (TFLite) model; {_EXPORT}"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it and give the .onnx file inside"
    if head[4:8] == b"ORTM":
        return "a model in onnxruntime's ORT format; give the .onnx file it was made from"
    for prefix, words in _PREFIXES:
        if head.startswith(prefix):
            return words
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return f"a Python pickle (never opened: it can run code); {_EXPORT}"
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100 << 20:
        return f"a safetensors file: weights without a graph; {_EXPORT}"
    if not head.strip(b"\0"):
        return "a file of zero bytes; download or export it again"
    return _text(head)


def _text(head: bytes) -> str | None:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    lowered = start[:512].lower()
    if lowered.startswith((b"<!doctype html", b"<html")) or b"<html" in lowered:
        return "a web page (HTML), probably an error or login page; download the model again"
    if lowered.startswith((b"<?xml", b"<net")):
        return f"an XML file (OpenVINO keeps models so); {_EXPORT}"
    if start.startswith((b"ir_version:", b"opset_import", b"graph {", b"producer_name:", b"node {")):
        return "an ONNX model in protobuf text format; convert it to binary with onnx.save"
    if start.startswith((b"{", b"[")) and b"\0" not in head:
        return "a JSON file, not a binary ONNX model; convert it with onnx.save"
    if start and all(byte in b"\t\r\n\f" or 32 <= byte < 127 for byte in head):
        return "a text file, not a model"
    return None


_MESSAGES: tuple[tuple[Callable[[frozenset[tuple[int, int]]], bool], str], ...] = (
    (lambda top: (1, 2) in top and bool(top & {(5, 2), (11, 2), (12, 2)}),
     "a bare GraphProto; wrap it with onnx.helper.make_model and save that"),
    (lambda top: (2, 0) in top and bool(top & {(9, 2), (4, 2), (7, 2), (8, 2)}),
     "a TensorProto (one tensor), not a model"),
    (lambda top: (1, 0) in top and (2, 2) in top,
     f"a protobuf of another kind (a TensorFlow SavedModel or a Core ML model?); {_EXPORT}"),
)  # fmt: skip


def message_like(top: frozenset[tuple[int, int]]) -> str:
    """What a protobuf message without a graph looks like, by the fields it has."""
    return next((words for test, words in _MESSAGES if test(top)), "a protobuf message, but it holds no graph")
