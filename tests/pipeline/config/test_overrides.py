"""What a person may write down for a key is right or a sentence; EXAMPLES=2000 tries more of it."""

import os
from contextlib import suppress
from dataclasses import fields

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import RunConfig, as_yaml, parse
from stylealae.errors import ConfigError

EXAMPLES = os.environ.get("EXAMPLES")
SOME = settings(
    max_examples=int(EXAMPLES or "15"),
    derandomize=EXAMPLES is None,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no fault
)
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"])).filter(
    lambda text: "${" not in text and text != "???"
)
SECTIONS = ("model", "loss", "schedule", "optimizer", "data", "engine", "cluster", "log", "metrics")
KEYS = st.sampled_from(
    [field.name for field in fields(RunConfig)]
    + [f"{name}.{field.name}" for name in SECTIONS for field in fields(getattr(RunConfig(), name))]
)
YAML_LIKE = st.sampled_from(
    ["", "no", "~", "null", "007", "1e3", ".inf", "1:30", "[1", "[[]]", "{a: 1}", "- 1", "!!x", "'",
     "2..8", "[2..1]", "a: b: c", "&a *a", "*a", "${x}", "???", "%", "\t", "0x1F", "2026-01-01"]
)  # fmt: skip


@pytest.mark.parametrize("key", ["metrics.names", "metrics.features", "log.to", "init.freeze"])
@pytest.mark.parametrize("value", ["{a: 1}", "[no]", "007", "[psnr, null]"])
def test_an_entry_of_a_list_of_texts_is_text(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} is .* put it in quotes"):
        parse("", [f"{key}={value}"])


@SOME
@given(TEXT.filter(str.strip), TEXT)
def test_text_is_kept_to_the_letter_and_comes_back_from_yaml(run_dir: str, label: str) -> None:
    cfg = parse("", [f"run_dir={run_dir}", f"data.label={label}"])
    assert (cfg.run_dir, cfg.data.label) == (run_dir, label)
    assert parse(as_yaml(cfg)) == cfg


@SOME
@given(
    st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=4),
    st.lists(st.integers(512, 1 << 40), min_size=1, max_size=4),  # a batch of the first stage
    st.booleans(),
)
def test_numbers_come_back_from_yaml(lr: list[float], stage_img: list[int], flip: bool) -> None:
    cfg = parse("", [f"schedule.lr={lr}", f"schedule.stage_img={stage_img}", f"data.flip={flip}"])
    assert (cfg.schedule.lr, cfg.schedule.stage_img) == (tuple(lr), tuple(stage_img))
    assert cfg.data.flip is flip
    assert parse(as_yaml(cfg)) == cfg


@SOME
@given(KEYS, st.one_of(YAML_LIKE, st.text(max_size=8)))
def test_whatever_is_written_is_a_config_or_a_sentence(key: str, value: str) -> None:
    with suppress(ConfigError):
        cfg = parse("", [f"{key}={value}"])
        assert parse(as_yaml(cfg)) == cfg
    with suppress(ConfigError):
        parse(f"{key.partition('.')[0]}: {value}")
