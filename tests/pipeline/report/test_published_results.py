"""Published results: measured on several runs, kept in a JSON file, shown as a table beside it."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.report import published_results as results
from stylealae.errors import ConfigError


def test_an_entry_has_mean_deviation_and_all_seeds() -> None:
    found = [{"error": 0.02}, {"error": 0.03}, {"error": 0.04}]
    entry = results.entry_of(found, seeds=[0, 1, 2], seconds=[10, 20, 30], command="stylealae x")
    assert entry["error"] == pytest.approx(0.03)
    assert entry["sd"] == pytest.approx(0.01)
    assert (entry["seeds"], entry["seconds"], entry["command"]) == ([0, 1, 2], 20.0, "stylealae x")
    one = results.entry_of([{"knn": 0.9, "svm": 0.8}], seeds=[4], seconds=[1], command="c")
    assert (one["knn"], one["knn-sd"], one["svm"], one["seeds"]) == (0.9, None, 0.8, [4])


def test_recording_keeps_other_lines_and_the_text_around_the_table(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    for name, error in (("b/2", 0.5), ("a/1", 0.25), ("b/2", 0.125)):
        entry = results.entry_of([{"error": error}], seeds=[0], seconds=[60], command="stylealae x")
        results.record(file, name, entry)
        page = file.with_suffix(".md")
        page.write_text(page.read_text().replace("# Results", "# Results, with a remark"))
    known = json.loads(file.read_text())
    assert list(known) == ["a/1", "b/2"]
    assert known["b/2"]["error"] == 0.125
    text = page.read_text()
    assert "with a remark" in text
    assert text.count("| b/2 |") == 1
    assert "| a/1 | error 0.25 | 0 | 60 |" in text


def test_of_several_that_record_at_the_same_time_no_line_is_lost_or_torn(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    entry = results.entry_of([{"error": 0.5}], seeds=[0], seconds=[60], command="stylealae x")
    names = [f"line/{i:02d}" for i in range(40)]

    def record(name: str) -> None:
        results.record(file, name, entry)
        assert name in json.loads(file.read_text()), "read while others write"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, names))
    assert list(json.loads(file.read_text())) == names
    assert file.with_suffix(".md").read_text().count("| line/") == 40
    assert sorted(f.name for f in tmp_path.iterdir()) == ["results.json", "results.md"]


def test_the_time_of_a_run_is_that_of_its_loop(tmp_path: Path) -> None:
    rows = [{"seen": 100, "time/img_per_s": 50.0}, {"seen": 300, "time/img_per_s": 100.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert results.seconds_of(tmp_path) == pytest.approx(4.0)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.json").mkdir()
    with pytest.raises(ConfigError, match=r"results\.json"):
        results.record(tmp_path / "results.json", "a", {})
