"""A wheel that was built from the tree works outside of it: configs by name, training, pages.

Built from the sdist, as `python -m build` does, and installed without its dependencies, which the
environment finds where this process does.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("setuptools.build_meta", reason="no setuptools to build with")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
TREE = ("pyproject.toml", "README.md", "LICENSE", "stylealae", "pipeline", "launch", "configs")
TINY = (
    "model.resolution=8", "model.max_channels=8", "schedule.stage_img=[64]",
    "schedule.total_img=0", "schedule.batch=[8]", "log.grid_img=64", "cluster.workers=[1]",
    "loss.prior_img=0",
    "loss.recover_img=0",
)  # fmt: skip


def run(command: Sequence[str | Path], folder: Path) -> str:
    """What a command prints, in a folder and without this checkout on its path."""
    shown = subprocess.run(
        [str(word) for word in command], cwd=folder, capture_output=True, text=True, timeout=300,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert shown.returncode == 0, shown.stdout + shown.stderr
    return shown.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel."""
    work = tmp_path_factory.mktemp("wheel")
    tree = work / "tree"
    tree.mkdir()
    for name in TREE:
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, tree)
        else:
            no_caches = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=no_caches)
    build = "from setuptools.build_meta import build_sdist; build_sdist('../dist')"
    run([sys.executable, "-c", build], tree)
    (sdist,) = (work / "dist").glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", "dist", sdist], work)
    (wheel,) = (work / "dist").glob("*.whl")
    run([sys.executable, "-m", "venv", "--without-pip", work / "env"], work)
    python = work / "env/bin/python"
    where = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], work)
    (Path(where.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], work)
    return work / "env/bin"


def test_configs_are_found_by_name_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    shown = run([installed / "stylealae", "plan", "ffhq_1024", *TINY], tmp_path)
    assert "stages of runs/ffhq_1024" in shown
    shown = run([installed / "python", "-m", "launch.demo", "--dry-run", *TINY], tmp_path)
    assert f"stages of {tmp_path}/runs/demo" in shown
    assert not list(tmp_path.iterdir())


def test_a_run_trains_and_has_its_page(installed: Path, tmp_path: Path) -> None:
    stylealae = installed / "stylealae"
    run([stylealae, "prepare", "24", "--source", "rendered", "--out", "faces",
         "--resolutions", "4..8", "--workers", "1"], tmp_path)  # fmt: skip
    run([stylealae, "train", "demo", *TINY, "data.path=faces", "run_dir=run"], tmp_path)
    run([stylealae, "sample", "run", "--count", "2", "--out", "samples.png"], tmp_path)
    assert (tmp_path / "samples.png").stat().st_size > 1000
    assert run([stylealae, "report", "run"], tmp_path).strip() == "run/report.html"


def test_its_version_is_the_changelogs_newest(installed: Path, tmp_path: Path) -> None:
    asked = "import stylealae; print(stylealae.__version__)"
    version = run([installed / "python", "-c", asked], tmp_path).strip()
    assert version in run([installed / "stylealae", "--version"], tmp_path)
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert version == re.findall(r"^## \[(\d.*?)\]", changes, re.M)[0]
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_its_types_and_pages_come_along(installed: Path, tmp_path: Path) -> None:
    asked = (
        "import stylealae, pipeline.studio.server as s, pipeline as p; "
        "print(stylealae.__file__, p.__file__, s.PAGE / 'index.html', sep='\\n')"
    )
    method, machinery, page = map(Path, run([installed / "python", "-c", asked], tmp_path).split())
    assert page.is_file()
    for package in (method.parent, machinery.parent):
        assert package.is_relative_to(installed.parent)
        assert (package / "py.typed").is_file()
