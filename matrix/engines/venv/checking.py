"""Compares folders of environments, and the unpacked packages that they link to, with what was made."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from matrix.environments.folders import take_away
from matrix.environments.manifest import FileDamage, Manifest, in_one_line, read_manifest, stale_byte_code


@dataclass(slots=True, kw_only=True)
class _Seen:
    """A folder as it was when it was loaded, and what was found since."""

    inode: int
    manifest: Manifest
    damaged: list[FileDamage] = field(default_factory=list)
    byte_code: list[Path] = field(default_factory=list)
    trees: set[Path] = field(default_factory=set)


class FolderCheck:
    """`trees` is the store's folder of unpacked packages."""

    def __init__(self, trees: Path) -> None:
        self._trees = trees
        self._began = time.time()
        self._seen: dict[Path, _Seen] = {}

    def damage(self, folder: Path, *, every_byte: bool) -> str:
        """How a folder differs from what was made, in one line; empty: not at all. Without `every_byte` it was just
        loaded: then sizes are compared.

        Byte code that was written before this run is damage, too: no digest covers it.
        """
        try:
            inode = folder.stat().st_ino
        except OSError:
            return "taken away while it was used" if folder in self._seen else ""  # `clean` or the budget took it before
        if not every_byte or folder not in self._seen:
            manifest = read_manifest(folder)
            if manifest is None:
                self._seen.pop(folder, None)
                return "it does not say what it holds: an earlier version made it, or it is damaged"
            self._seen[folder] = _Seen(inode=inode, manifest=manifest)
        seen = self._seen[folder]
        if seen.inode != inode:
            return "made again by another process while it was used"
        seen.damaged = seen.manifest.differences(folder, every_byte=every_byte)
        for tree in self._linked_trees(folder, seen.manifest):
            if damage := self.damage(tree, every_byte=every_byte):
                seen.trees.add(tree)
                seen.damaged.append(FileDamage(path=f"trees/{tree.name[:12]}", why=damage))
        seen.byte_code = stale_byte_code(folder, self._began, seen.manifest.files) if every_byte and not seen.damaged else []
        old = "its byte code is of an earlier run, and no digest covers that: it is written again"
        return in_one_line(seen.damaged) or (old if seen.byte_code else "")

    def forget(self, folder: Path) -> None:
        """This run itself takes the folder away."""
        self._seen.pop(folder, None)

    def _linked_trees(self, folder: Path, manifest: Manifest) -> set[Path]:
        trees = self._trees.resolve()
        found = {(folder / path).resolve() for path in manifest.links}
        linked = {trees / place.relative_to(trees).parts[0] for place in found if trees in place.parents}
        return linked - {folder.resolve()}  # a tree's own links stay in it

    def discard(self, folder: Path) -> tuple[set[str], list[Path]]:
        """Takes what was found damaged away. Returns the packages whose wheels are damaged, and what is left to
        remove."""
        seen = self._seen.pop(folder, None)
        if seen and seen.byte_code:
            for path in seen.byte_code:
                path.unlink(missing_ok=True)
            return set(), []
        if not folder.is_dir() or (seen and seen.inode != folder.stat().st_ino):  # another process was faster
            return set(), []
        trees = [tree for tree in (seen.trees if seen else ()) if tree.is_dir()]
        for tree in trees:
            self._seen.pop(tree, None)
        packages = {each.package for each in (seen.damaged if seen else ()) if each.package}
        return packages, [take_away(each) for each in (folder, *trees)]
