"""The auditor of `python -m trials.faults` sees what it is there to see."""

import json
from pathlib import Path

import pytest

pytest.importorskip("psutil")

from trials.faults.audit import Steps, Watch, checkpoints, differences


def show(folder: Path, name: str, *rows: tuple[int, list[int]]) -> None:
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.jsonl").open("a") as stream:
        for seen, ids in rows:
            stream.write(json.dumps({"seen": seen, "ids": ids}) + "\n")


def test_a_global_batch_is_whole_when_all_ranks_were_shown_it(tmp_path: Path):
    show(tmp_path, "0-of-2-11-1", (0, [5, 6]), (4, [1, 2]))
    show(tmp_path, "1-of-2-12-1", (0, [7, 8]))
    steps = Steps(tmp_path)
    steps.update()
    assert steps.global_batches() == ({0: [5, 6, 7, 8]}, [])
    show(tmp_path, "0-of-1-13-2", (4, [1, 2, 3, 4]))
    show(tmp_path, "1-of-2-12-1", (4, [3, 9]))
    steps.update()
    assert steps.global_batches()[1] == ["another batch at 4 with 2 workers"]


def test_an_orphan_that_was_shown_other_images_is_found(tmp_path: Path):
    show(tmp_path, "0-of-1-11-1", (0, [5, 6]))
    show(tmp_path, "0-of-1-99-1", (0, [6, 5]))
    steps = Steps(tmp_path)
    steps.update()
    assert steps.global_batches()[1] == ["rank 0 of 1 saw two batches at 0"]


def test_a_line_that_is_being_written_waits(tmp_path: Path):
    (tmp_path / "0-of-1-11-1.jsonl").write_text('{"seen": 0, "ids": [1]}\n{"seen": 4, "i')
    steps = Steps(tmp_path)
    steps.update()
    assert steps.seen == 0
    with (tmp_path / "0-of-1-11-1.jsonl").open("a") as stream:
        stream.write('ds": [2]}\n')
    steps.update()
    assert steps.seen == 4


def test_a_restart_counts_what_it_does_again_and_a_survivor_nothing(tmp_path: Path):
    show(tmp_path, "0-of-1-11-1", *((seen, [0]) for seen in range(0, 40, 4)))
    steps = Steps(tmp_path)
    watch = Watch(steps, batch=4)
    show(tmp_path, "0-of-1-11-1", (40, [0]), (44, [0]))
    assert watch.recovery() is None  # these two were under way
    show(tmp_path, "0-of-1-12-2", (20, [0]))
    found = watch.recovery()
    assert found is not None
    assert (found.resumed, found.lost_img) == (True, 48 - 20)

    watch = Watch(steps, batch=4, passes=True)
    show(tmp_path, "0-of-1-12-2", *((seen, [0]) for seen in range(24, 64, 4)))
    found = watch.recovery()
    assert found is not None
    assert (found.resumed, found.lost_img) == (False, 0)


def test_the_last_steps_of_what_is_dying_are_no_recovery(tmp_path: Path):
    show(tmp_path, "0-of-1-11-1", *((seen, [0]) for seen in range(0, 40, 4)))
    steps = Steps(tmp_path)
    watch = Watch(steps, batch=4)
    show(tmp_path, "0-of-1-11-1", *((seen, [0]) for seen in range(40, 80, 4)))
    assert watch.recovery() is None
    show(tmp_path, "0-of-1-12-2", (60, [0]))
    found = watch.recovery()
    assert found is not None
    assert (found.resumed, found.lost_img) == (True, 80 - 60)


def test_a_checkpoint_that_differs_in_one_file_is_named(tmp_path: Path):
    for seen, ema in ((32, "a"), (64, "b")):
        folder = tmp_path / "0004" / f"seen-{seen:010d}"
        folder.mkdir(parents=True)
        hashes = {"ema.safetensors": ema, "state.json": "differs between run folders"}
        (folder / "manifest.json").write_text(json.dumps({"format": 1, "sha256": hashes}))
    found = checkpoints(tmp_path)
    reference = {32: {"ema.safetensors": "a"}, 64: {"ema.safetensors": "a"}}
    assert differences(found, reference) == ["ema.safetensors after 64 images"]
