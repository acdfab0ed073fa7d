"""Times each node of an .onnx with ONNX Runtime's own profiler, on one thread: `profile_onnx.py MODEL FILE`.

The nodes are those that the runtime made of the model: fused, laid out for the CPU. Takes `input_N.npy` of the job's
own folder. The profiler counts in microseconds. Standard library, numpy and onnxruntime only.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import onnxruntime

sys.path.insert(0, "")  # the job's folder: this file is a link there, and Python looks beside what it leads to
from model_inputs import load_inputs
from timed_operations import Samples

ENDING = "_kernel_time"
WARM, SECONDS = 3, 1.0


def main(model: str, left: str) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = os.path.join(os.getcwd(), "onnxruntime")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    wanted = session.get_inputs()
    given = load_inputs(len(wanted))
    arrays = {entry.name: array for entry, (_, array) in zip(wanted, given)}  # noqa: B905 - Python 3.9
    samples = Samples(1)
    for _ in range(WARM):
        session.run(None, arrays)
    while not samples.enough(SECONDS):
        samples.take(lambda: session.run(None, arrays))
    written = session.end_profiling()
    with open(written, encoding="utf-8") as file:
        events = json.load(file)
    os.remove(written)
    samples.operations, samples.facts = nodes(events, len(samples.wall))
    samples.write(left)


def nodes(events: list[dict[str, Any]], calls: int) -> tuple[dict[str, list[float]], dict[str, dict[str, Any]]]:
    """The seconds of each node in the last so many calls, in the order in which they run, and what each is."""
    found: dict[str, list[float]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith(ENDING):
            continue
        name, args = event["name"][: -len(ENDING)], event["args"]
        key = f"{name}#{args['node_index']}" if name in facts and facts[name]["index"] != args["node_index"] else name
        found.setdefault(key, []).append(event["dur"] / 1e6)
        shapes = [sizes for each in args.get("output_type_shape", []) for sizes in each.values()]
        facts[key] = {"kind": args["op_name"], "index": args["node_index"], "shape": shapes[0] if shapes else []}
    return {name: seconds[-calls:] for name, seconds in found.items() if len(seconds) >= calls}, facts


if __name__ == "__main__":
    main(*sys.argv[1:])
