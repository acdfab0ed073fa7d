"""What is read of an `.onnx` file without onnx."""

from __future__ import annotations

from matrix.artifacts.onnx import onnx_facts


def field(number: int, content: bytes) -> bytes:
    """A field of bytes of a protobuf message."""
    length, size = b"", len(content)
    while True:
        length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return bytes([number << 3 | 2]) + length + content


def test_the_names_of_a_damaged_file_are_bounded(tmp_path):
    """A damaged length can make the rest of the file a name."""
    path = tmp_path / "model.onnx"
    opset = field(1, b"ai.onnx.ml") + b"\x10\x03"
    path.write_bytes(field(7, field(2, b"g" * 100_000)) + field(8, opset) * 1000)
    facts = onnx_facts(path)
    assert facts.graph == "g" * 1024
    assert len(facts.opset) == 1024 and facts.opset.startswith("ai.onnx.ml 3, ai.onnx.ml 3")


def test_a_graph_and_its_opsets_are_read(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(field(7, field(2, b"main_graph")) + field(8, b"\x10\x11") + field(8, field(1, b"a") + b"\x10\x03"))
    assert (onnx_facts(path).graph, onnx_facts(path).opset) == ("main_graph", "17, a 3")
