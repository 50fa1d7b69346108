"""Configs by name: those that come with the package."""

from pathlib import Path

import pytest

from pipeline.config import load
from stylealae.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


@pytest.mark.parametrize("name", ["demo", "mnist/aae_2d"])
def test_a_name_is_the_config_of_the_checkout(name: str) -> None:
    overrides = ["run_dir=runs/other"]
    assert load(Path(name), overrides) == load(CONFIGS / f"{name}.yaml", overrides)


def test_a_file_comes_before_a_name_and_a_folder_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()
    assert load(Path("demo")) == load(CONFIGS / "demo.yaml")
    Path("mine").write_text("seed: 5")
    assert load(Path("mine")).seed == 5


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"config demmo: .*did you mean demo\?"):
        load(Path("demmo"))
    with pytest.raises(ConfigError, match="did you mean mnist/wae"):
        load(Path("mnist/base"))
