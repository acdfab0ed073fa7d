"""Published runs made for the tests of the site: of any size, and hostile ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

OVERRIDE = "\u202e"
HOSTILE = f"<script>alert('x')</script>\x1b[31m{OVERRIDE}&\"'><img src=x onerror=alert(1)>{{{{ 7*7 }}}}"


def job(key: str, stage: str, environment: str) -> dict[str, Any]:
    return {
        "stage": stage,
        "outcome": "passed",
        "lock": f"{stage}/1",
        "lock_sha256": "c" * 64,
        "engine": "venv",
        "environment": environment,
        "command": ["tool", "--flag", "module.vmfb"],
        "inputs": {"module.mlir" if stage == "compile" else "module.vmfb": "a" * 64} if stage != "export" else {},
        "artifacts": {"output_0.npy": {"sha256": key.ljust(64, "0"), "bytes": 640}},
        "end": "exited",
        "exit_code": 0,
        "signal": 0,
        "seconds": 0.5,
        "cpu_seconds": 0.4,
        "peak_bytes": 1000000,
        "log_bytes": 0,
        "finished_at": "2026-01-02T03:04:05Z",
        "machine": "x86_64, a CPU, 2 cores",
    }


def cell(axes: dict[str, str], jobs: list[str], signature: str | None = None, message: str = "said") -> dict[str, Any]:
    evidence: dict[str, Any] = {"jobs": jobs, "reproduce": "python -m matrix run made"}
    if signature:
        evidence |= {"message": message, "means": "it means this", "values": {}}
    else:
        evidence["comparison"] = {"error": 0.0, "tolerance": 0.0, "text": "equal"}
    outcome = "failed" if signature else "passed"
    return {"axes": axes, "outcome": outcome, "stage": "run", "signature": signature, "evidence": evidence}


def document(cells: list[dict[str, Any]], jobs: dict[str, Any], *, name: str = "made") -> dict[str, Any]:
    signatures = {each["signature"]: {"next": "do that"} for each in cells if each["signature"]}
    environments = {each["environment"]: {"engine": "venv", "lock": "run/1"} for each in jobs.values()}
    return {
        "format": 1,
        "preset": name,
        "question": "Does it work?",
        "counts": {},
        "islands": [],
        "cells": cells,
        "jobs": jobs,
        "environments": environments,
        "signatures": signatures,
    }


def generated(models: int, releases: int) -> dict[str, Any]:
    """models x releases x releases cells, a run job for each, an export for each model, islands of three."""
    cells, jobs = [], {}
    for model in range(models):
        export = f"e{model}"
        jobs[export] = job(export, "export", "env-export")
        for compiler in range(releases):
            for runtime in range(releases):
                key = f"r{model}-{compiler}-{runtime}"
                jobs[key] = job(key, "run", f"env-{runtime}")
                axes = {"model": f"model_{model}", "compiler": f"3.{compiler}.0", "runtime": f"3.{runtime}.0"}
                same = compiler // 3 == runtime // 3
                cells.append(cell(axes, [export, key], None if same else "vm-features"))
    return document(cells, jobs)


def timed(models: Sequence[str], releases: Sequence[str], ratio: Callable[[int, int, int], float]) -> dict[str, Any]:
    """A run with modules and times: `ratio(model, release, round)` is the latency beside the middle release's."""
    cells, jobs, tables = [], {}, []
    base = len(releases) // 2
    for model, name in enumerate(models):
        rows = []
        for place, release in enumerate(releases):
            compiled, ran = f"c{model}-{place}", f"r{model}-{place}"
            jobs[ran] = job(ran, "run", f"env-{release}")
            module = {"sha256": compiled.ljust(64, "0"), "bytes": (model + 1) * 1_000_000 + 20_000 * place}
            left = {"artifacts": {"module.vmfb": module}, "cpu_seconds": 1 + place / 7}
            jobs[compiled] = job(compiled, "compile", f"env-{release}") | left
            axes = {"compiler": release, "runtime": release}
            cells.append(cell({"model": name, **axes}, [compiled, ran]))
            seconds = {str(number): 0.01 * ratio(model, place, number) for number in range(1, 15)}
            middle = sorted(seconds.values())[7] / 0.01
            verdict = "slower" if middle > 1.02 else "faster" if middle < 0.98 else "no difference"
            row = {"axes": axes, "baseline": place == base, "ratio": middle, "verdict": verdict}
            ordered = sorted(seconds.values())
            row |= {"median_seconds": ordered[7], "quartile_1_seconds": ordered[3], "quartile_3_seconds": ordered[10]}
            made = {"vmfb_bytes": module["bytes"], "compile_cpu_seconds": 0.5 + place / 8}
            rows.append(row | made | {"seconds_by_round": seconds})
        tables.append({"shared": {"model": name}, "noise_floor": 1.012 + model / 200, "rows": rows})
    return document(cells, jobs, name="timed") | {"times": tables}


def in_nix(content: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A run as if Nix had made its environments, with one base below all of them; and its paths of the store."""
    base = f"/nix/store/{'b' * 32}-base"
    paths: dict[str, Any] = {base: {"bytes": 50_000_000, "references": []}}
    for number, environment in enumerate(content["environments"].values()):
        tree = f"/nix/store/{number:032}-{'long-' * 20}tree-{number}"
        environment["nix_programs"] = f"{tree}-programs"
        paths[tree] = {"bytes": 2_000_000, "references": []}
        paths[f"{tree}-programs"] = {"bytes": 4_000, "references": [base, tree]}
    return content | {"store_paths": paths}, paths


def hostile() -> dict[str, Any]:
    """Strangers' text wherever a run can hold some."""
    said = [HOSTILE, "x" * (1 << 20), f"{HOSTILE}\n\u2028<!-- \x00 ]]>", "../../" + HOSTILE]
    jobs = {f"{HOSTILE}{number}": job("k", "run", f"../{HOSTILE}") for number in range(4)}
    for each in jobs.values():
        each |= {name: HOSTILE for name in ("lock", "lock_sha256", "machine", "finished_at", "engine", "end")}
        each |= {"command": said, "inputs": {HOSTILE: HOSTILE}, "artifacts": {HOSTILE: {"sha256": HOSTILE, "bytes": 1}}}
    cells = [
        cell(
            {"model": said[number], "compiler": f"{text}{number}", "runtime": text, HOSTILE: HOSTILE}, [key], text, text
        )
        for number, (text, key) in enumerate(zip(said, jobs, strict=True))
    ]
    made = document(cells, jobs, name=HOSTILE) | {"question": HOSTILE, "mlir_portability": said}
    named = ("engine", "lock", "lock_sha256", "python", "c_library")
    facts = {name: HOSTILE for name in named} | {"distributions": {HOSTILE: HOSTILE}, "nix_programs": HOSTILE}
    made["store_paths"] = {HOSTILE: {"bytes": 1, "references": said}}
    made["environments"] = {f"../{HOSTILE}": facts}
    made["models"] = {HOSTILE: HOSTILE}
    made["signatures"] = {text: {"next": HOSTILE} for text in said}
    return made


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
