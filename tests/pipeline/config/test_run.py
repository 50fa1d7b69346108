"""The run's config: what is refused and how, who overrides whom, and what --dry-run shows.

Checked against run.py and loading.py of pipeline/config as a user meets them: every published YAML,
and what a launch script prints.
"""

import os
import runpy
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline.config import RunConfig, as_yaml, load, parse
from stylealae.errors import ConfigError
from stylealae.families import NAMES, sections

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
LAUNCHERS = [p for p in sorted((ROOT / "launch").glob("[a-z]*.py")) if p.stem != "checkout"]


@pytest.mark.parametrize("path", CONFIGS, ids=[p.name for p in CONFIGS])
def test_every_config_loads_and_survives_a_round_trip(path: Path) -> None:
    cfg = load(path)
    assert isinstance(cfg, RunConfig)
    assert parse(as_yaml(cfg)) == cfg


@pytest.mark.parametrize("path", CONFIGS, ids=[p.name for p in CONFIGS])
def test_every_config_opens_with_its_claim(path: Path) -> None:
    opening = path.read_text().split("\n\n")[0]
    assert opening.startswith("#")
    assert "# Run: " in opening


def test_an_empty_config_is_the_defaults() -> None:
    assert parse("") == RunConfig()
    assert parse(as_yaml(RunConfig())) == RunConfig()


def test_an_override_beats_the_file_and_the_file_beats_the_default() -> None:
    text = "seed: 3\nmodel: {resolution: 64}\nschedule: {lr: [0.5, 0.25]}"
    cfg = parse(text, ["model.resolution=16", "schedule.lr=[0.002]"])
    assert (cfg.seed, cfg.model.resolution, cfg.schedule.lr) == (3, 16, (0.002,))
    assert cfg.model.channels == RunConfig().model.channels
    assert parse(text, ["seed=4", "seed=5"]).seed == 5


def test_an_override_may_be_empty() -> None:
    assert parse("data: {label: class}", ["data.label="]).data.label == ""


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("run_dir=runs/photos #1", "run_dir", "runs/photos #1"),
        ("run_dir=007", "run_dir", "007"),
        ("run_dir=no", "run_dir", "no"),
        ("run_dir={a: [b", "run_dir", "{a: [b"),
        ("run_dir=a=b", "run_dir", "a=b"),
        ("data.path=1:30", "data.path", "1:30"),
        ("data.label=5", "data.label", "5"),
        ("engine.fuse=off", "engine.fuse", "off"),
        ("cluster.workers=2", "cluster.workers", (2,)),
        ("cluster.workers=2..8", "cluster.workers", ("2..8",)),
        ("schedule.batch=32,16", "schedule.batch", (32, 16)),
        ("schedule.lr=0.002", "schedule.lr", (0.002,)),
        ("schedule.lr=2e-3", "schedule.lr", (0.002,)),
        ("schedule.lr= [0.002]", "schedule.lr", (0.002,)),
        ("metrics.names=psnr", "metrics.names", ("psnr",)),
        ("metrics.names=psnr, ssim", "metrics.names", ("psnr", "ssim")),
        ("metrics.labels=", "metrics.labels", ()),
        ("data.flip=no", "data.flip", False),
    ],
)
def test_an_override_is_read_as_what_its_key_holds(override: str, key: str, value: object) -> None:
    section, _, name = key.rpartition(".")
    cfg = parse("", [override])
    assert getattr(getattr(cfg, section) if section else cfg, name) == value


def test_an_override_knows_the_keys_of_the_family_that_another_names() -> None:
    cfg = parse("", ["model.prior=mixture", "family=aae", "model.z_width=2"])
    assert (cfg.family, asdict(cfg.model)["prior"]) == ("aae", "mixture")


@pytest.mark.parametrize(
    ("text", "override", "says"),
    [
        ("", "model.resolutoin=8", "no key model.resolutoin. Did you mean model.resolution"),
        ("modle: {resolution: 8}", "", "modle"),
        ("", "seed=often", "seed"),
        ("", "schedule.batch=many", "schedule.batch"),
        ("seed: 1\nrun_dir: 007", "", "line 2: 007 is 7 to YAML.*text in quotes"),
        ("run_dir: 7", "", "run_dir is 7 to YAML.*put it in quotes"),
        ("data: {path: no}", "", "data.path is False to YAML.*put it in quotes"),
        ("engine: {fuse: off}", "", "engine.fuse is False to YAML.*put it in quotes"),
        ("", "run_dir=", "run_dir is empty"),
        ("", "=3", "key=value"),
        ("", "schedule.lr=[fast]", "schedule.lr"),
        ("", "engine.precision=fp8", "'fp32', 'bf16', 'fp16'.*engine.precision"),
        ("", "data.flip=perhaps", "data.flip"),
        ("", "model=", "model"),
        ("seed: ${other}", "", "seed"),
        ("", "seed", "'seed'.*key=value"),
        ("", "model.resolution=48", "model.resolution is 48: make it a power of two"),
        ("", "engine.zero_stage=4", "engine.zero_stage is 4: use 0, 1, 2 or 3"),
        ("family: gan", "engine.zero_stage=3", "engine.zero_stage is 3 and the family gan"),
        ("", "engine.recompute_from=-1", "engine.recompute_from"),
        ("", "engine.threads=-1", "engine.threads"),
        ("", "engine.timeout_s=0", "engine.timeout_s is 0"),
        ("", "engine.bucket_mib=-1", "engine.bucket_mib is -1"),
        ("", "engine.reduce_dtype=fp16", "'fp32', 'bf16'.*engine.reduce_dtype"),
        ("", "data.patience_s=900", "engine.timeout_s is 600 and data.patience_s 900"),
        ("engine: {zero_stage: 0, offload: true}", "", "engine.offload needs"),
        ("engine: {precision: fp16}", "engine.offload=true", "offload is true.*precision=bf16"),
        ("", "loss.r1_every=0", "loss.r1_every"),
        ("", "loss.prior_img=15", "at least 16 images"),
        ("family: alae", "loss.prior_img=100", r"there is no key loss\.prior_img"),
        ("family: alae", "loss.recover_img=100", r"there is no key loss\.recover_img"),
        ("family: alae", "loss.mixing_prob=0.5", r"there is no key loss\.mixing_prob"),
        ("family: vae", "model.critic_hidden=9", r"there is no key model\.critic_hidden"),
        ("family: vae_gan", "model.posterior_std=1", r"there is no key model\.posterior_std"),
        ("family: ali", "model.eta_width=9", r"there is no key model\.eta_width"),
        ("family: vamp_vae", "model.prior_scale=2", r"there is no key model\.prior_scale"),
        ("", "loss.recover_img=-1", "cannot be negative"),
        ("", "schedule=1", "1 stands where a section is wanted"),
        ("loss: 3", "", "3 stands where a section is wanted"),
        ("", "loss.likeness_rate=-1", "loss.likeness_rate"),
        ("", "loss.likeness_prior=1", "likeness_prior is 1.0.*no phase of likeness"),
        ("", "init.alpha=0.3", "init.alpha and .* init.from, and that is empty"),
        ("", "schedule.stage_img=[100]", "stage 1 is to be shown images 100 to 200.* reach to 512"),
        (
            "{loss: {likeness_rate: 1, likeness_prior: 1}, model: {resolution: 4}}",
            "schedule.batch=[1]",
            "likeness_prior compares .* one at a time",
        ),
        ("family: wae", "engine.micro_batch=[1]", "mmd_weight compares .* one at a time"),
        ("family: age", "schedule.batch=[1]", "game_weight compares .* one at a time"),
        ("family: factor_vae", "engine.micro_batch=[1]", "tc_weight compares .* one at a time"),
        (
            "{family: aae, model: {batch_norm: true}, schedule: {batch: [4]}}",
            "cluster.workers=[4]",
            "model.batch_norm compares .* one at a time",
        ),
        (
            "{family: aae_classes, data: {label: class}, engine: {micro_batch: [1]}}",
            "loss.smoothness_weight=1",
            "smoothness_weight compares .* one at a time",
        ),
        (
            "{family: aae_classes, data: {label: class}}",
            "loss.labelled_batch=0",
            "loss.labelled_batch is 0: give at least 1",
        ),
        ("", "loss.likeness_structure=2", "loss.likeness_structure is 2.0: it is a share"),
        ("", "engine.micro_batch=[-1]", "engine.micro_batch"),
        ("", "schedule.batch=[]", "schedule.batch"),
        ("", "schedule.stage_img=[0]", "schedule.stage_img"),
        ("", "schedule.fade_fraction=2", "schedule.fade_fraction"),
        ("", "schedule.ema_half_life_img=0", "schedule.ema_half_life_img"),
        ("", "loss.mixing_prob=1.5", "loss.mixing_prob"),
        ("", "checkpoint.every_img=0", "checkpoint.every_img"),
        ("", "log.scalars_img=0", "log.scalars_img"),
        ("", "cluster.workers=[0]", "cluster.workers"),
        ("", "cluster.gpus_per_worker=2", "cluster.gpus_per_worker.*raise cluster.workers"),
        ("seed: [", "", "did not find expected node"),
        ("- seed", "", "key"),
        ("family: aee", "", "'aee'.*'aae'.*family"),
        ("family: aae\nmodel: {w_width: 3}", "", "there is no key model.w_width"),
        ("family: aae", "loss.r1_gamma=1", "r1_gamma"),
        ("", "loss.input_noise=0.1", "there is no key loss.input_noise"),
        ("family: aae_supervised", "", "learns from labels and data.label is empty"),
        ("family: aae", "model.prior=mixture", "lies in a plane.*model.z_width=2"),
        ("family: aae_classes", "model.class_shares=[1,2]", "2 numbers and model.classes is 10"),
        ("family: vae", "model.posterior=universal", "universal.*gaussian"),
        ("family: aae", "model.side=27", "model.side is 27"),
        ("family: aae", "loss.input_dropout=1", "loss.input_dropout"),
        ("family: aae_classes\ndata: {label: class}", "model.classes=1", "model.classes is 1"),
        ("", "data.labelled_img=10", "data.label is empty"),
        ("data: {label: class}", "data.labelled_img=15", "a multiple of data.classes"),
        ("", "data.validation_img=-1", "data.validation_img"),
        ("", "optimizer.kind=lion", "'adam', 'sgd'"),
        ("", "optimizer.momentum=1", "optimizer.momentum"),
        ("", "schedule.lr_final=2", "schedule.lr_final"),
        ("42", "", "found no keys.*`key: value`"),
        ("seed: ???", "", "seed is [?]{3}, which stands for a value to come"),
        ("", "seed=???", "seed is [?]{3}"),
        ("seed: 010", "", "010 is 8 to YAML.*without a leading 0"),
        ("", "schedule.batch=[016]", "016 is 14 to YAML"),
        ("", "schedule.total_img=1:30", "1:30 is 90 to YAML"),
        ("run_dir:", "", "run_dir has no value"),
        ("schedule: {lr: [null]}", "", "schedule.lr has no value"),
        ("model:", "", "model has no keys below it"),
        ("schedule: {batch: {0: 16}}", "", "schedule.batch is {0: 16}.*a list"),
        ("schedule: {batch: [[16]]}", "", r"schedule.batch is \[\[16\]\].*a list of single values"),
        ("", "schedule.batch[0]=16", "is no override"),
        ("", "seed=[7]", r"seed is \[7\], and a single value is wanted"),
        ("", "cluster.workers=2.0", r"cluster.workers is \[2.0\]"),
        ("", "loss.merged=2", "loss.merged is 2, and true or false is wanted"),
        ("model.resolution: 8", "", "model.resolution is written with a dot.*model: {resolution: "),
        ("'seed ': 3", "", "no key 'seed '. Did you mean seed"),
        ('run_dir: "C:\\runs\\new"', "", "run_dir is 'C:.*cannot be seen.*single quotes"),
        ("", "run_dir=a\0b", "run_dir is .*cannot be seen"),
        ("run_dir: ' '", "", "run_dir is empty"),
        ("", "data.path=", "data.path is empty"),
        ("", "data.shuffle_img=0", "data.shuffle_img is 0"),
        ("", "data.max_broken=-1", "data.max_broken is -1: it cannot be negative"),
        ("", "checkpoint.patience_s=-1", "checkpoint.patience_s is -1"),
        ("", "cluster.cpus_per_worker=0", "cluster.cpus_per_worker is 0"),
        ("", "schedule.w_mean_beta=2", "schedule.w_mean_beta is 2"),
        ("", "schedule.total_img=-5", "schedule.total_img is -5"),
        ("", "augment.mode=fixed", "augment.mode is fixed and augment.p 0.*nothing"),
        ("", "augment.p=0.5", "augment.mode is none and augment.p 0.5.*nothing"),
        ("augment: {mode: adaptive}", "augment.kinds=", "augment.kinds is .*at least one kind"),
        ("", "augment.kinds=[flip,flip]", "augment.kinds is .*each once"),
        (
            "{engine: {deterministic: true}, augment: {mode: adaptive}}",
            "augment.kinds=[flip,rotate]",
            "deterministic is true and augment.kinds has rotate,.*or name other augment.kinds",
        ),
        (
            "engine: {precision: fp16}",
            "loss.merged=true",
            "precision is fp16 and loss.merged is true.*precision=bf16 or fp32",
        ),
        (
            "engine: {precision: fp16}\nloss: {likeness_rate: 1}",
            "loss.likeness_features=0.2",
            "precision is fp16 and loss.likeness_features is 0.2",
        ),
    ],
)
def test_a_refusal_names_the_key(text: str, override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(text, [override] if override else [])


@pytest.mark.parametrize(
    "override", ["augment.kinds=[flip,colour]", "augment.mode=none", "cluster.gpus_per_worker=0"]
)
def test_a_deterministic_run_may_copy_and_colour_pixels_and_a_cpu_may_warp_them(
    override: str,
) -> None:
    given = ["engine.deterministic=true", "augment.mode=adaptive", override]
    assert parse("", given).engine.deterministic


def test_a_batch_that_the_workers_cannot_share_is_refused() -> None:
    with pytest.raises(ConfigError) as refusal:
        parse("", ["model.resolution=16", "schedule.batch=[32,10]", "cluster.workers=[4]"])
    for part in ("stage 1", "batch of 10", "4 ranks", "schedule.batch[1]", "cluster.workers"):
        assert part in str(refusal.value)


def test_the_batch_is_checked_with_each_stages_own_workers() -> None:
    text = "model: {resolution: 16}\nschedule: {batch: [32, 10]}"
    assert parse(text, ["cluster.workers=[4,2]"]).cluster.workers == (4, 2)


def test_a_micro_batch_that_does_not_divide_the_share_is_refused() -> None:
    given = ["schedule.batch=[32]", "cluster.workers=[2]"]
    with pytest.raises(ConfigError, match=r"16 images.*engine\.micro_batch 6"):
        parse("", [*given, "engine.micro_batch=[6]"])
    for fits in (0, 4, 16, 64):
        assert parse("", [*given, f"engine.micro_batch=[{fits}]"]).engine.micro_batch == (fits,)


def test_a_config_goes_on_from_its_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("seed: 3\nschedule: {lr: [0.5], total_img: 7}\n")
    mine = tmp_path / "mine.yaml"
    mine.write_text("base: base.yaml\nschedule: {lr: [0.25]}\n")
    cfg = load(mine, ["schedule.total_img=8"])
    assert (cfg.seed, cfg.schedule.lr, cfg.schedule.total_img) == (3, (0.25,), 8)
    mine.write_text("base: other.yaml\n")
    with pytest.raises(ConfigError, match=r"other\.yaml"):
        load(mine)


@pytest.mark.parametrize(
    "line",
    [
        "base: base.yaml # the common one",
        "base: 'base.yaml'",
        "base : base.yaml",
        "\ufeffbase: base.yaml",
    ],
)
def test_a_base_is_named_in_any_way_that_yaml_has(tmp_path: Path, line: str) -> None:
    (tmp_path / "base.yaml").write_text("seed: 3\n")
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"{line}\nrun_dir: mine\n", encoding="utf-8")
    assert (load(mine).seed, load(mine).run_dir) == (3, "mine")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("base: mine.yaml", "its base mine.yaml has a base too"),
        ("base: base.yaml\nbase: other.yaml", "duplicate key base"),
        ("base:", "its base is None"),
        ("base: bose.yaml", r"its base .*bose.yaml does not exist: did you mean .*base.yaml"),
        ("base: list.yaml", r"list.yaml: found a list"),
    ],
)
def test_a_base_that_is_none_is_refused(tmp_path: Path, line: str, says: str) -> None:
    (tmp_path / "base.yaml").write_text("seed: 3\n")
    (tmp_path / "list.yaml").write_text("- 3\n")
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"{line}\n")
    with pytest.raises(ConfigError, match=says):
        load(mine)


def test_a_single_value_of_a_file_is_a_list_of_one() -> None:
    cfg = parse("schedule: {batch: 16, lr: 1e-3}\nlog: {to: wandb}\nmetrics: {names: psnr}")
    assert (cfg.schedule.batch, cfg.schedule.lr) == ((16,), (0.001,))
    assert (cfg.log.to, cfg.metrics.names) == (("wandb",), ("psnr",))


@pytest.mark.parametrize("family", NAMES)
def test_every_family_has_its_own_sections(family: str) -> None:
    model, loss = sections(family)
    cfg = parse(f"family: {family}\ndata: {{label: class}}")
    assert (type(cfg.model), type(cfg.loss)) == (model, loss)
    assert parse(as_yaml(cfg)) == cfg
    assert list(cfg.stages) == list(range(cfg.model.first_stage, cfg.model.last_stage + 1))


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    absent, binary = tmp_path / "absent.yaml", tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00seed")
    for path in (absent, tmp_path, binary):
        with pytest.raises(ConfigError, match=path.name):
            load(path)


def test_broken_yaml_is_told_with_its_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 1\nmodel: {resolution: 8\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml.*line [23]"):
        load(path)


def bare() -> dict[str, str]:
    """The environment without what a Ray job sets."""
    return {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}


@pytest.mark.parametrize("script", LAUNCHERS, ids=[p.name for p in LAUNCHERS])
def test_a_dry_run_prints_config_and_plan_and_starts_nothing(
    script: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(script.parent)  # as Python does
    monkeypatch.setattr(sys, "argv", [str(script), "--dry-run", "seed=7"])
    runpy.run_path(str(script), run_name="__main__")
    plan, config = capsys.readouterr().out.split("the config, every key of it:")
    assert plan.lstrip().startswith("stages of ")
    cfg = parse(config)
    assert cfg.seed == 7
    assert str(tmp_path) in cfg.run_dir
    for stage in cfg.stages:
        assert f" {4 << stage}x{4 << stage} " in plan
    assert "…" not in plan  # nothing is cut, however narrow the terminal
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", LAUNCHERS, ids=[p.name for p in LAUNCHERS])
def test_a_launch_script_is_executable_and_opens_with_its_claim(script: Path) -> None:
    assert os.access(script, os.X_OK)
    first, claim = script.read_text().split("\n", 1)
    assert first == "#!/usr/bin/env python"
    for part in ("Reproduces:", "Hardware:", "Time", "Expect:", f"launch/{script.name}"):
        assert part in claim.split("import sys")[0]


def test_a_launch_script_refuses_in_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "launch/demo.py"), "--dry-run", "modle.resolution=8"]
    shown = subprocess.run(
        command, cwd=tmp_path, env=bare(), capture_output=True, text=True, timeout=120
    )
    assert shown.returncode == 1
    assert shown.stderr.startswith("error: ")
    assert "modle" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(
    ("text", "override", "key"),
    [
        ("run_dir: 'runs/${oc.env:SECRET}'", "", "run_dir"),
        ("data: {path: 'http://host/${oc.env:SECRET}'}", "", "data.path"),
        ("schedule: {lr: ['${oc.decode:${oc.env:SECRET}}']}", "", "schedule.lr"),
        ("run_dir: ${data.path}", "", "run_dir"),
        ("", "run_dir=${oc.env:SECRET}", "run_dir"),
    ],
)
def test_a_value_is_data_and_nothing_is_looked_up_for_it(
    text: str, override: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "0.125")
    with pytest.raises(ConfigError, match=rf"{key} is .*values are data") as refused:
        parse(text, [override] if override else [])
    assert "0.125" not in str(refused.value)


def test_nothing_is_looked_up_for_a_base_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "0.125")
    (tmp_path / "base.yaml").write_text("run_dir: ${oc.env:SECRET}\n")
    (tmp_path / "mine.yaml").write_text("base: base.yaml\nrun_dir: runs/mine\n")
    with pytest.raises(ConfigError, match=r"run_dir is .*values are data"):
        load(tmp_path / "mine.yaml")


@pytest.mark.parametrize("name", ["../other.yaml", "below/../../other.yaml", "{absolute}"])
def test_a_base_lies_beside_its_config_or_below(tmp_path: Path, name: str) -> None:
    (tmp_path / "configs/below").mkdir(parents=True)
    (tmp_path / "other.yaml").write_text("seed: 3\n")
    (tmp_path / "configs/below/base.yaml").write_text("seed: 4\n")
    mine = tmp_path / "configs/mine.yaml"
    mine.write_text(f"base: {name.format(absolute=tmp_path / 'other.yaml')}\n")
    with pytest.raises(ConfigError, match=r"its base is .*or below"):
        load(mine)
    mine.write_text("base: below/base.yaml\n")
    assert load(mine).seed == 4


def test_a_config_nested_too_deep_is_refused_with_a_sentence() -> None:
    with pytest.raises(ConfigError, match="nested too deep"):
        parse("run_dir: " + "[" * 3000 + "]" * 3000)
