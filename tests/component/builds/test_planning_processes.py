"""A user's own compilers are started to be known."""

from __future__ import annotations

from pathlib import Path

from user_builds import plan_of_user_build


def program(path: Path, version: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)


def test_ones_own_compilers_are_known_by_their_content(tmp_path: Path) -> None:
    digests = []
    for version in ("", "12.2", "12.2", "13.1"):
        if version:
            for name in ("gcc", "g++", "ar", "strip"):
                program(tmp_path / "cross" / "bin" / f"rv-{name}", version)
        (node,) = (node for node in plan_of_user_build(tmp_path).nodes if node.stage == "build")
        assert node.request is not None
        digests.append(node.request.lock.digest)
    assert digests[1] == digests[2]
    assert len(set(digests)) == 3
