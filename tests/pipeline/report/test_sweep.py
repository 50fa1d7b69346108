"""A sweep's combinations, what is left of it to do, and its table; one is run by the command."""

import _thread
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli.app import main
from pipeline.config import load, parse
from pipeline.report import sweep_runs
from pipeline.report.sweep import SweepRun, runs_of, values_of
from pipeline.report.sweep_runs import Job, SweepEvaluation, job_of, over_processes, work
from pipeline.report.sweep_table import record, table_of
from stylealae.errors import ConfigError

TEXT = """
family: vae
model: {hidden: 12, z_width: 2}
schedule: {stage_img: [48], total_img: 0, batch: [12]}
engine: {precision: fp32, zero_stage: 0, threads: 1}
data: {flip: false}
cluster: {gpus_per_worker: 0}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(f"{TEXT}run_dir: {tmp_path}/runs\n")
    return tmp_path / "small.yaml"


def test_a_list_is_swept_and_a_list_for_a_key_of_lists_is_its_value() -> None:
    cfg = parse(TEXT)
    assert values_of("[1,4.5, 16]", cfg, "loss.beta") == ["1", "4.5", "16"]
    assert values_of("[24]", cfg, "schedule.stage_img") == ["[24]"]
    assert values_of("[[24],[48,96]]", cfg, "schedule.stage_img") == ["[24]", "[48,96]"]
    assert values_of("bernoulli", cfg, "loss.reconstruction") == ["bernoulli"]
    with pytest.raises(ConfigError, match="has no value to run with"):
        values_of("[]", cfg, "seed")


def test_every_combination_is_a_run_in_a_folder_of_its_own(config: Path, tmp_path: Path) -> None:
    given = ["loss.beta=[1,4]", "model.hidden=24", "seed=[0,1,2]", "schedule.stage_img=[24]"]
    runs = runs_of([config], given)
    assert [(run.cfg.loss.beta, run.cfg.seed) for run in runs] == [
        (1, 0), (1, 1), (1, 2), (4, 0), (4, 1), (4, 2)
    ]  # fmt: skip
    assert all(run.cfg.model.hidden == 24 for run in runs)
    assert runs[4].name == "small/loss.beta=4,seed=1"
    assert runs[4].folder == tmp_path / "runs/loss.beta=4,seed=1"
    assert len({run.folder for run in runs}) == 6


def test_configs_that_are_called_alike_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("mnist", "faces"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vae.yaml").write_text(f"{TEXT}run_dir: {tmp_path}/runs/{name}\n")
    configs = [tmp_path / "mnist/vae.yaml", tmp_path / "faces/vae.yaml"]
    names = [run.name for run in runs_of(configs, ["seed=[0,1]"])]
    assert names == ["mnist/vae/seed=0", "mnist/vae/seed=1", "faces/vae/seed=0", "faces/vae/seed=1"]


def test_weights_to_begin_with_are_found_from_another_folder(config: Path) -> None:
    (run,) = runs_of([config], ["init.from=runs/demo/0032/snapshot"])
    ((_, *words),) = job_of(run, None).commands
    assert f"init.from={Path('runs/demo/0032/snapshot').absolute()}" in words


def test_files_and_folders_are_found_from_another_folder(config: Path) -> None:
    (run,) = runs_of([config], ["metrics.features=[i.pt,~/v.pt]", "data.cache=c"])
    ((_, *words),) = job_of(run, None).commands
    assert f"metrics.features=[{Path('i.pt').absolute()},~/v.pt]" in words
    assert f"data.cache={Path('c').absolute()}" in words
    assert not [word for word in words if word.startswith("metrics.cache=")]
    trained = load(config, words[1:])
    assert trained.metrics.features == (str(Path("i.pt").absolute()), "~/v.pt")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["seed=[0,0]"], "several runs of this sweep would lie in"),
        (["seed=[0,none]"], "seed"),
        (["loss.gamma=[1,2]"], "gamma"),
        (["seed"], "'seed' is no override"),
        (["run_dir=s3://bucket/runs", "seed=[0,1]"], "so name a folder"),
    ],
)
def test_what_cannot_be_run_is_refused_before_the_first_run(
    overrides: list[str], says: str, config: Path
) -> None:
    with pytest.raises(ConfigError, match=says):
        runs_of([config], overrides)


def finished(run: SweepRun, seen: int, *metrics: str) -> None:
    """What a run of so many images leaves, and its evaluation."""
    (run.folder / "0032/snapshot").mkdir(parents=True)
    (run.folder / "0032/snapshot/config.json").touch()
    (run.folder / "metrics.jsonl").write_text(json.dumps({"seen": seen}) + "\n")
    lines = [
        {"metric": m, "dataset": "/d", "samples": 0, "labels": [], "values": {m: 1.0}}
        for m in metrics
    ]
    (run.folder / "evaluation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))


def test_what_is_trained_and_measured_is_left_alone(config: Path) -> None:
    done, stopped, fresh = runs_of([config], ["seed=[0,1,2]"])
    finished(done, 48, "psnr")
    finished(stopped, 24, "psnr")
    wanted = SweepEvaluation("/d", ("psnr", "ssim"), 100)
    assert [[c[0] for c in job_of(run, None).commands] for run in (done, stopped, fresh)] == [
        [], ["train"], ["train"]
    ]  # fmt: skip
    (again,) = job_of(done, wanted).commands
    assert again[again.index("--metrics") + 1] == "ssim"
    first, second = job_of(stopped, wanted).commands
    assert (first[0], second[second.index("--metrics") + 1]) == ("train", "psnr,ssim")
    assert f"run_dir={stopped.folder}" in first


def test_a_job_that_fails_says_why_and_ends_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_runs, "COMMAND", (sys.executable, "-c"))
    code = ("import sys; print('no room'); sys.exit(3)", "pass", "open('late', 'w')")
    jobs = [Job(str(i), str(tmp_path / str(i)), ((text,),)) for i, text in enumerate(code[:2])]
    jobs.append(Job("2", str(tmp_path / "2"), ((code[0],), (code[2],))))
    found = {job.name: error for job, error in over_processes(work, jobs, 2)}
    assert found.pop("1") == ""
    assert all(error.endswith("ended with 3: no room") for error in found.values())
    assert len(found) == 2
    assert not Path("late").exists(), "what comes after a failed command is not run"


def test_a_sweep_that_is_left_ends_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_runs, "COMMAND", (sys.executable, "-c"))
    waits = f"import time; time.sleep(60); open({str(tmp_path / 'late')!r}, 'w')"
    texts = ("pass", waits, waits)
    jobs = [Job(str(i), str(tmp_path / str(i)), ((text,),)) for i, text in enumerate(texts)]
    running = over_processes(work, jobs, 2)
    assert next(running) == (jobs[0], "")
    running.close()  # type: ignore[attr-defined]
    assert not sweep_runs._running
    assert not (tmp_path / "late").exists()


def test_a_task_that_ray_cancels_has_its_run_save_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray interrupts the task's thread, and no system call that it waits in."""
    monkeypatch.setattr(sweep_runs, "COMMAND", (sys.executable, "-c"))
    monkeypatch.setattr(sweep_runs, "_leaving", threading.Event())  # as in a task
    saves = (
        "import pathlib, signal, sys, time\n"
        "def save(*_): pathlib.Path('saved').touch(); sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, save); pathlib.Path('begun').touch(); time.sleep(20)\n"
    )
    monkeypatch.chdir(tmp_path)

    def cancel() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.05)
        _thread.interrupt_main()

    cancelling = threading.Thread(target=cancel, daemon=True)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have ignored it
    began = time.monotonic()
    cancelling.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            work(Job("a", str(tmp_path / "a"), ((saves,),)))
    finally:
        signal.signal(signal.SIGINT, before)
    cancelling.join()
    assert time.monotonic() - began < 15
    assert (tmp_path / "saved").exists()
    assert not sweep_runs._running


def entry(seed: int, beta: str, psnr: float | None) -> dict[str, object]:
    return {
        "config": "vae", "family": "vae", "swept": {"loss.beta": beta}, "seed": seed,
        "images": 48, "seconds": 2.0, "parameters": 1_500_000, "device": "d",
        "figures": {"loss/elbo": 3.0, "psnr": psnr},
    }  # fmt: skip


def test_seeds_share_a_line_of_mean_and_deviation(tmp_path: Path) -> None:
    entries = {f"{s}": entry(s, "4", 10.0 + s) for s in (0, 1, 2)}
    (*_, line) = table_of({**entries, "b": entry(0, "1", None)}).splitlines()[:3]
    assert line == "| vae loss.beta=4 | 11 ± 1 | 0, 1, 2 | 48 | 1.50 M | 2 |"
    assert "| vae loss.beta=1 | - | 0 |" in table_of({"b": entry(0, "1", None)})
    table = record(tmp_path / "t.json", {"a": entry(0, "4", 9.0)})
    table = record(tmp_path / "t.json", {"b": entry(1, "4", 11.0)})
    assert "| vae loss.beta=4 | 10 ± 1.4 | 0, 1 |" in table
    assert table in (tmp_path / "t.md").read_text()


def test_a_line_is_recorded_from_a_sweep_of_seeds(tmp_path: Path) -> None:
    table, file = tmp_path / "sweep.json", tmp_path / "results.json"
    record(
        table, {f"{s}": entry(s, "4", 10.0 + s) | {"command": "stylealae sweep"} for s in (1, 0)}
    )
    command = ["record", "a", str(table), "--file", str(file)]
    assert CliRunner().invoke(main, command).exit_code == 0
    line = json.loads(file.read_text())["a"]
    assert (line["psnr"], line["seeds"], line["seconds"]) == (10.5, [0, 1], 2.0)
    assert line["command"] == "stylealae sweep"
    assert CliRunner().invoke(main, [*command, "--figures", "bound=loss/elbo"]).exit_code == 0
    assert json.loads(file.read_text())["a"]["bound"] == 3.0
    assert "leave out --data" in CliRunner().invoke(main, [*command, "--data", "d"]).stderr
    for figures, said in (
        ("psnr,psnr-sd=loss/elbo", "records psnr-sd, and a line has something else of that name"),
        ("seeds=psnr", "give it another, as in spread=seeds"),
        ("a=psnr,a=loss/elbo", "records two values as a"),
    ):
        refused = CliRunner().invoke(main, [*command, "--figures", figures])
        assert said in refused.stderr
    record(table, {"2": entry(2, "4", None)})
    assert "names psnr; there are loss/elbo" in CliRunner().invoke(main, command).stderr
    record(table, {"other": entry(2, "1", 9.0)})
    assert "2 settings (config=vae,loss.beta=1; " in CliRunner().invoke(main, command).stderr
    table.write_text('{"0": 1}')
    assert "give the sweep.json that" in CliRunner().invoke(main, command).stderr


def test_the_command_trains_measures_and_goes_on(
    config: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    out = tmp_path / "table.json"
    command = ["sweep", str(config), "loss.beta=[1,4]", f"data.path={digits}", "--out", str(out),
               "--metrics", "psnr", "--samples", "20"]  # fmt: skip
    monkeypatch.setattr("pipeline.report.sweep_runs.over_processes", in_process)
    first = CliRunner().invoke(main, command, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    assert "[2/2]" in first.stderr
    found = json.loads(out.read_text())
    assert "<figcaption>Loss: elbo" in out.with_suffix(".html").read_text()
    assert list(found) == ["small/loss.beta=1", "small/loss.beta=4"]
    assert all(run["images"] == 48 and run["figures"]["psnr"] > 0 for run in found.values())
    assert all("loss/elbo" in run["figures"] for run in found.values())
    # 784 -> 12 -> 12 -> 2 twice, and back
    weights = 784 * 12 + 12 + 12 * 12 + 12 + 2 * (12 * 2 + 2)
    weights += 2 * 12 + 12 + 12 * 12 + 12 + 12 * 784 + 784
    assert found["small/loss.beta=1"]["parameters"] == weights
    again = CliRunner().invoke(main, command, catch_exceptions=False)
    assert "/2]" not in again.stderr
    assert json.loads(out.read_text()) == found
    same = ["loss.beta=[1,4]", f"data.path={digits}"]
    run, _ = runs_of([config], same)
    with (run.folder / "metrics.jsonl").open("a") as log:
        log.write('{"seen": 5')  # a kill in mid-write
    assert not job_of(run, None).commands
    asked, _ = runs_of([config], [*same, "schedule.lr=0.123"])
    assert [words[0] for words in job_of(asked, None).commands] == ["train"]  # it refuses
    longer, _ = runs_of([config], [*same, "schedule.stage_img=96"])
    assert [words[0] for words in job_of(longer, None).commands] == ["train"]
    assert "goes on with other settings than before: schedule.stage_img" in caplog.text


def in_process(_work: object, jobs: Sequence[Job], at_most: int) -> Iterator[tuple[Job, str]]:
    """As `over_processes`, here: a process of its own takes seconds to begin."""
    assert at_most == 1
    for job in jobs:
        for arguments in job.commands:
            done = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
            assert done.exit_code == 0, done.output
        yield job, ""
