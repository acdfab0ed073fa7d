"""Tasks: what is in a key, what is kept, and that nothing half-built stays."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from matrix.builds.tasks import Task, Tasks, Tree, task_key
from matrix.core.errors import EngineMissing
from matrix.core.keys import tree_digest
from matrix.core.records import Outcome

SLOW_ONCE = """
import os, time
first = not os.path.exists({mark!r})
open({mark!r}, "w").close()
open("made", "w").close()
time.sleep(60 if first else 0)
"""
PYTHON = "{python}/" + Path(sys.executable).name


def make(code: str, folder: Path, *, outputs: tuple[str, ...] = (), inputs: dict[str, Path] | None = None) -> Task:
    trees = {"python": Tree(path=Path(sys.executable).parent, digest="p"), "other": Tree(path=folder, digest="o")}
    return Task(
        label="a task", commands=((PYTHON, "-c", code),), trees=trees, inputs=inputs or {}, outputs=outputs, seconds=30
    )


def left(tasks: Tasks) -> list[str]:
    return [path.name for path in tasks.folder.iterdir() if path.is_dir()]


def test_a_key_knows_contents_and_no_places(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for name in "ab":
        (tmp_path / name / "x.c").write_text("int x;")
    first = make("1", tmp_path / "a", inputs={"x.c": tmp_path / "a" / "x.c"})
    moved = make("1", tmp_path / "b", inputs={"x.c": tmp_path / "b" / "x.c"})
    assert task_key(first) == task_key(moved)
    (tmp_path / "b" / "x.c").write_text("int y;")
    assert task_key(first) != task_key(moved)


def test_only_trees_that_are_named_are_in_the_key(tmp_path: Path) -> None:
    task = make("1", tmp_path)
    changed = replace(task, trees={**task.trees, "other": Tree(path=tmp_path, digest="changed")})
    assert task_key(changed) == task_key(task)
    newer = replace(task, trees={**task.trees, "python": Tree(path=tmp_path, digest="newer")})
    assert task_key(newer) != task_key(task)


def test_a_tree_in_the_environment_is_in_the_key(tmp_path: Path) -> None:
    task = replace(make("1", tmp_path), environment=(("LIBRARIES", "{other}/lib"),))
    changed = replace(task, trees={**task.trees, "other": Tree(path=tmp_path, digest="changed")})
    assert task_key(changed) != task_key(task)


@pytest.mark.parametrize("change", [{"seconds": 31.0}, {"outputs": ("x",)}, {"environment": (("A", "1"),)}])
def test_all_that_decides_an_end_is_in_the_key(tmp_path: Path, change: dict[str, object]) -> None:
    task = make("1", tmp_path)
    assert task_key(replace(task, **change)) != task_key(task)


def test_a_task_runs_once(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path)
    count = tmp_path / "count"
    task = make(
        f"open({str(count)!r}, 'a').write('x'); open('made', 'w').write('content')", tmp_path, outputs=("made",)
    )
    first, second = tasks.run(task), tasks.run(task)
    assert (first.passed, first.cached, second.passed, second.cached) == (True, False, True, True)
    assert second.output("made").read_text() == "content"
    assert count.read_text() == "x"
    assert left(tasks) == [first.key]


def test_a_failure_is_kept_with_its_log_and_without_outputs(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path)
    task = make("open('made', 'w'); print('because'); raise SystemExit(3)", tmp_path, outputs=("made",))
    for end in (tasks.run(task), tasks.run(task)):
        assert (end.outcome, end.exit_code, end.ending) == (Outcome.FAILED, 3, "exit code 3")
        assert "because" in end.log
        assert not end.output("made").exists()
    assert left(tasks) == [end.key]


def test_a_missing_output_is_a_failure(tmp_path: Path) -> None:
    assert Tasks(tmp_path).run(make("1", tmp_path, outputs=("made",))).outcome is Outcome.FAILED


def test_a_signal_is_named(tmp_path: Path) -> None:
    end = Tasks(tmp_path).run(make("import os; os.kill(os.getpid(), 4)", tmp_path))
    assert (end.outcome, end.ending) == (Outcome.CRASHED, "SIGILL")


def test_a_task_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    end = Tasks(tmp_path).run(replace(make("import time; time.sleep(60)", tmp_path), seconds=0.5))
    assert (end.outcome, end.ending) == (Outcome.TIMED_OUT, "timed out")


def test_the_first_failing_command_ends_a_task(tmp_path: Path) -> None:
    task = make("raise SystemExit(1)", tmp_path)
    end = Tasks(tmp_path).run(replace(task, commands=(*task.commands, (PYTHON, "-c", "print('on' + 'ward')"))))
    assert end.outcome is Outcome.FAILED
    assert "onward" not in end.log
    assert end.failed_command.startswith("{python}/")


def test_a_tool_that_cannot_be_started_is_an_error_and_is_not_kept(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path)
    task = replace(make("1", tmp_path), commands=(("{other}/nothing",),))
    with pytest.raises(EngineMissing, match="nothing cannot be started"):
        tasks.run(task)
    assert left(tasks) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path)
    code = f"""
from pathlib import Path
from matrix.builds.tasks import Task, Tasks, Tree
trees = {{"python": Tree(path=Path({str(Path(sys.executable).parent)!r}), digest="p")}}
words = ({PYTHON!r}, "-c", {SLOW_ONCE.format(mark=str(tmp_path / "mark"))!r})
Tasks(Path({str(tmp_path)!r})).run(Task(label="slow", commands=(words,), trees=trees, inputs={{}}, outputs=("made",)))
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3]) as process:
        deadline = time.monotonic() + 30
        while not (tmp_path / "mark").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(left(Tasks(tmp_path))) == 1, "another process swept away a task that runs"
        process.kill()
    assert [name.startswith("partial-") for name in left(tasks)] == [True]
    tasks = Tasks(tmp_path)
    assert left(tasks) == []
    words = (PYTHON, "-c", SLOW_ONCE.format(mark=str(tmp_path / "mark")))
    trees = {"python": Tree(path=Path(sys.executable).parent, digest="p")}
    end = tasks.run(Task(label="slow", commands=(words,), trees=trees, inputs={}, outputs=("made",)))
    assert end.passed
    assert not end.cached
    assert left(tasks) == [end.key]


def test_a_log_names_no_place_of_the_machine_in_its_commands(tmp_path: Path) -> None:
    end = Tasks(tmp_path).run(make("1", tmp_path))
    assert str(tmp_path) not in end.log.splitlines()[0]


def test_the_digest_of_a_folder_is_of_names_modes_and_contents(tmp_path: Path) -> None:
    def digest_after(change: str) -> str:
        folder = tmp_path / change
        folder.mkdir()
        (folder / "a").write_text("1")
        (folder / "link").symlink_to("a")
        match change:
            case "content":
                (folder / "a").write_text("2")
            case "name":
                (folder / "a").rename(folder / "b")
            case "mode":
                (folder / "a").chmod(0o755)
            case "link":
                (folder / "link").unlink()
                (folder / "link").symlink_to("b")
        return tree_digest(folder)

    plain = digest_after("nothing")
    assert plain == digest_after("the same")
    assert len({plain, *(digest_after(change) for change in ("content", "name", "mode", "link"))}) == 5
