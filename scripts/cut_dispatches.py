"""Cuts a module into its dispatches, with the compiler that made it.

    python cut_dispatches.py MODULE.mlir FUNCTION FLAG…

The flags are those of `iree-compile`; with `--compile-from=flow` the module is cut already. Leaves

- `reference.vmfb`: the same dispatches for VMVX, which interprets them and shares no code generator with a CPU or GPU;
  its function returns all that dispatches take and make, as files of `reference.flags`,
- `dispatch_N.mlir`: each different dispatch alone, as `iree-compile --compile-from=flow` takes it for the target,
- `interpreted_N.mlir`: the same for VMVX,
- `dispatches.json`: which dispatch is which: names, lines of the module, values.

Ends with the status of a compiler that fails, and with 3 where the module cannot be cut. Standard library only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.getcwd())  # the files of a job may be links: Python would look where they lead

from flow_text import (
    PLACE,
    VALUE,
    Dispatch,
    Flow,
    Unreadable,
    devices,
    exportable,
    for_device,
    names_of,
    read_flow,
    without_places,
)

FORMAT = 1
FROM_FLOW = "--compile-from=flow"
CANNOT_CUT = 3
NOTHING = "func.func @main(%x: tensor<1xf32>) -> tensor<1xf32> {\n  return %x : tensor<1xf32>\n}\n"
INTERPRETER = "--iree-hal-target-backends=vmvx"
RESOURCE, RESOURCES = "dense_resource<", "{-#"
COMPUTES = ("linalg.", "tensor.pad", "tensor.pack", "tensor.unpack", "iree_linalg_ext.", "scf.for", "linalg_ext.")
"""Operations in a dispatch whose lines say what of the model it computes."""


def main(module: str, function: str, *flags: str) -> int:
    text = cut(module, flags)
    flow = read_flow(text, function)
    if not flow.dispatches:
        raise Unreadable(f"the function {function} has no dispatch: there is nothing to compare")
    device = interpreter()
    values = {name: number for number, name in enumerate(exported_values(flow))}
    write("reference.mlir", "\n".join(reference_text(flow, function, values, device)))
    compile_for_vmvx("reference.mlir", "reference.vmfb", flags)
    os.unlink("reference.mlir")
    write("reference.flags", "".join(f"--output=@value_{number}.npy\n" for number in values.values()))
    modules: "dict[str, int]" = {}
    rows = []
    for ordinal, dispatch in enumerate(flow.dispatches):
        made = [name for name, kind in dispatch.results if exportable(kind)]
        row: "dict[str, object]" = {"ordinal": ordinal, "name": dispatch.entry, "executable": dispatch.executable}
        row["lines"] = lines_of(dispatch, flow, module)
        if made:
            alone, taken, beside = single_text(flow, dispatch, function)
            text = "\n".join(alone) + "\n"
            row["module"] = modules.setdefault(text, len(modules))
            row["takes"] = [f"value_{values[name]}" if name in values else name for name in taken]
            row["makes"] = [f"value_{values[name]}" for name in made]
            row["with"] = beside
        rows.append(row)
    for text, number in modules.items():
        write(f"dispatch_{number}.mlir", text)
        write(f"interpreted_{number}.mlir", "\n".join(for_device(text.split("\n"), device)))
    outputs = [f"value_{values[name]}" if name in values else "" for name in flow.outputs]
    record = {
        "format": FORMAT,
        "function": function,
        "outputs": outputs,
        "elsewhere": flow.elsewhere,
        "dispatches": rows,
    }
    write("dispatches.json", json.dumps(record, indent=1) + "\n")
    return 0


def cut(module: str, flags: "tuple[str, ...]") -> str:
    """The text of the module, cut into dispatches. What `iree-compile` prints has no names for parts of it, and with
    releases up to 3.10 no `dense_resource` either. In their bytecode all is there, and `iree-opt` prints it."""
    if FROM_FLOW in flags:
        return read(module)
    run("iree-compile", module, "--compile-to=flow", "--emit-mlir-bytecode", "-o", "flow.mlirbc", *flags)
    run("iree-opt", "flow.mlirbc", "--mlir-print-debuginfo", "--mlir-print-local-scope", "-o", "flow.mlir")
    text = read("flow.mlir")
    if RESOURCE in text and RESOURCES not in text:
        run("iree-opt", "flow.mlirbc", "-o", "flow.mlir")
        whole = read("flow.mlir")
        text += whole[whole.index(RESOURCES) :]
    os.unlink("flow.mlir")
    os.unlink("flow.mlirbc")
    return text


def interpreter() -> str:
    """What this compiler says of VMVX as a device."""
    write("nothing.mlir", NOTHING)
    run("iree-compile", "nothing.mlir", INTERPRETER, "--compile-to=flow", "-o", "nothing-flow.mlir")
    text = read("nothing-flow.mlir")
    start, end = devices(text)[0]
    device = text[start:end]
    for line in text.split("\n"):  # a release may name a part of it before the module
        name, _, meant = line.partition(" = ")
        if name.startswith("#") and name in device:
            device = device.replace(name, meant)
    return device


def compile_for_vmvx(module: str, made: str, flags: "tuple[str, ...]") -> None:
    """Raises Unreadable with the compiler's first error: some releases have no VMVX for all that they compile."""
    words = ("-o", made, *dict.fromkeys((FROM_FLOW, *flags)))
    done = subprocess.run((found("iree-compile"), module, *words), stderr=subprocess.PIPE, check=False)
    said = done.stderr.decode(errors="replace")
    sys.stderr.write(said)
    if done.returncode:
        errors = re.findall(r"error: ([^\n]*)", said) or [f"exit status {done.returncode}"]
        raise Unreadable(f"VMVX of this compiler, the reference, does not take them: {errors[0][:200]}")


def tool(name: str) -> str:
    """The path of a tool beside this Python, or on the PATH; empty where there is none."""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    return beside if os.access(beside, os.X_OK) else shutil.which(name) or ""


def found(name: str) -> str:
    program = tool(name)
    if not program:
        raise Unreadable(f"no {name} beside this Python, and none on the PATH")
    return program


def run(name: str, *words: str) -> None:
    """Raises SystemExit with the status of a tool that fails."""
    done = subprocess.run((found(name), *words), check=False)
    if done.returncode:
        raise SystemExit(done.returncode if done.returncode > 0 else 128 - done.returncode)


def exported_values(flow: Flow) -> "list[str]":
    """What the reference leaves: all that dispatches take and make, and what the function returns, each once."""
    every = [each for dispatch in flow.dispatches for each in (*dispatch.operands, *dispatch.results)]
    every += [(name, flow.types[name]) for name in flow.outputs]
    return [name for name, kind in dict(every).items() if exportable(kind)]


def reference_text(flow: Flow, function: str, values: "dict[str, int]", device: str) -> "list[str]":
    """The module for VMVX, whose function returns these values."""
    arguments = ", ".join(f"{name}: {kind}" for name, kind in flow.arguments)
    kinds = ", ".join("!hal.buffer_view" for _ in values)
    lines = [f"  util.func public @{function}({arguments}) -> ({kinds}) {{", *flow.body]
    lines += [exported(f"%out_{number}", name, flow.types[name]) for name, number in values.items()]
    names = ", ".join(f"%out_{number}" for number in values.values())
    lines += [f"    util.return {names} : {kinds}", "  }"]
    return [*for_device(flow.head, device), *lines, *flow.tail]


def exported(result: str, value: str, kind: str) -> str:
    return f"    {result} = hal.tensor.export {value} : {kind} -> !hal.buffer_view"


def single_text(flow: Flow, dispatch: Dispatch, function: str) -> "tuple[list[str], list[str], list[int]]":
    """A module with one dispatch, what its function takes, and the ordinals of those that it needs beside.

    What an .npy file can hold is an argument. What it cannot (an encoded tensor, booleans, a number) is computed here,
    with all that it is computed of.
    """
    needed: "set[int]" = {dispatch.line}
    taken: "dict[str, str]" = {}
    waiting = [name for line in [flow.body[dispatch.line]] for name in used(line)]
    arguments = dict(flow.arguments)
    while waiting:
        name = waiting.pop()
        if name in taken:
            continue
        kind = flow.types.get(name, "")
        if name in arguments or exportable(kind):
            taken[name] = kind
            waiting += VALUE.findall(kind)
        elif flow.defined[name] not in needed:
            needed.add(flow.defined[name])
            waiting += used(flow.body[flow.defined[name]])
    taken = {name: kind for name, kind in taken.items() if flow.defined.get(name, -1) not in needed}
    order = sorted(taken, key=lambda name: (flow.defined.get(name, -1), name))
    lines = {number: without_places(flow.body[number]) for number in needed}
    for place, name in enumerate(order):
        if name not in arguments:
            line = f"    {name} = hal.tensor.import %in_{place} : !hal.buffer_view -> {taken[name]}"
            lines[flow.defined[name]] = line
    ends = [(name, kind) for name, kind in dispatch.results if exportable(kind)]
    body = [lines[number] for number in sorted(lines)]
    body += [exported(f"%out_{place}", name, kind) for place, (name, kind) in enumerate(ends)]
    kinds = ", ".join("!hal.buffer_view" for _ in ends)
    names = ", ".join(f"%out_{place}" for place in range(len(ends)))
    given = ", ".join(
        f"{name if name in arguments else f'%in_{place}'}: {arguments.get(name, '!hal.buffer_view')}"
        for place, name in enumerate(order)
    )
    inside = [
        f"  util.func public @{function}({given}) -> ({kinds}) {{",
        *body,
        f"    util.return {names} : {kinds}",
        "  }",
    ]
    beside = [place for place, other in enumerate(flow.dispatches) if other.line in needed and other is not dispatch]
    wanted = {dispatch.executable, *(flow.dispatches[place].executable for place in beside)}
    text = [*frame(flow, wanted, "\n".join(body)), *renamed(inside), "}"]
    text += resources(flow, "\n".join(text))
    sources = [f"input_{[*arguments].index(name)}" if name in arguments else name for name in order]
    return text, sources, beside


def used(line: str) -> "list[str]":
    """The values that a line uses; `%3#1` is a value of its own."""
    defined = set(names_of(line))
    text = without_places(line).partition(" = ")[2] or line
    return [name for name in dict.fromkeys(VALUE.findall(text)) if name not in defined]


def resources(flow: Flow, text: str) -> "list[str]":
    """The part of a module's end that has the constants which a text names."""
    wanted = set(re.findall(r"dense_resource<([^>]+)>", text))
    rows = {
        line.strip().partition(":")[0].strip('"'): line.rstrip(",") for line in flow.tail if line.startswith("      ")
    }
    kept = [line for name, line in rows.items() if name in wanted]
    inside = [
        "  dialect_resources: {",
        "    builtin: {",
        *(f"{line}," for line in kept[:-1]),
        *kept[-1:],
        "    }",
        "  }",
    ]
    return [RESOURCES, *inside, "#-}"] if kept else []


def renamed(lines: "list[str]") -> "list[str]":
    """Values in order of appearance as %v0, %v1: the same dispatch of two places is the same text."""
    names: "dict[str, str]" = {}

    def fresh(name: str) -> str:
        base, hash_mark, number = name.partition("#")
        if base in whole:
            return names.setdefault(base, f"%v{len(names)}") + hash_mark + number
        return names.setdefault(name, f"%v{len(names)}")

    # `%3:2 = …` stays one name, and `%3#0` is a part of it; an imported `%3#0` becomes a name of its own
    whole = {
        word.partition(":")[0].strip() for line in lines for word in line.partition(" = ")[0].split(",") if ":" in word
    }
    return [VALUE.sub(lambda match: fresh(match[0]), line) for line in lines]


def frame(flow: Flow, executables: "set[str]", body: str) -> "list[str]":
    """The module's head with these executables, and with the globals that the body names."""
    kept, skipping = [], False
    for line in flow.head:
        if line.startswith("  flow.executable "):
            name = line.split("@", 1)[1].split(" ", 1)[0].strip('"')
            skipping = name not in executables
        if line.startswith(("  util.global ", "  util.func ", "  util.initializer")):
            name = line.partition("@")[2].split(" ", 1)[0].strip('"')
            skipping = not (line.startswith("  util.global ") and (name.startswith("__device") or f"@{name} " in body))
        if not skipping:
            kept.append(line if line.startswith("  util.global ") else without_places(line))
        if line.startswith("  }") or (skipping and line.startswith("  util.global ")):
            skipping = False
    return kept


def lines_of(dispatch: Dispatch, flow: Flow, module: str) -> "list[int]":
    """The lines of the module that a dispatch computes: that of its call first."""
    found = [int(match["line"]) for match in PLACE.finditer(dispatch.text) if match["file"] == module]
    inside = False
    for line in flow.head:
        if line.startswith("  flow.executable "):
            inside = f"@{dispatch.executable} " in line
        elif inside and "loc(" in line and any(word in line for word in COMPUTES) and "linalg.fill" not in line:
            found += [int(match["line"]) for match in PLACE.finditer(line) if match["file"] == module]
    return list(dict.fromkeys(found))


def read(name: str) -> str:
    with open(name, encoding="utf-8") as file:
        return file.read()


def write(name: str, text: str) -> None:
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except Unreadable as unreadable:
        print(f"cannot be cut into dispatches: {unreadable}", file=sys.stderr)
        sys.exit(CANNOT_CUT)
