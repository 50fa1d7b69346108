"""The tables of a page are what the JSON files beside it say."""

import json
from pathlib import Path

from bench.table import filled


def test_a_table_has_a_line_for_the_seeds_of_a_config(tmp_path: Path) -> None:
    runs = {
        f"{config}/{seed}": {
            "config": config, "seed": seed, "images": 1000, "seconds": 2.0, "parameters": 1.5e6,
            "figures": {"psnr": 10.0 + 2 * seed} if config == "wae" else {"fid": 1.0},
        }
        for config in ("wae", "gan") for seed in (0, 1)
    }  # fmt: skip
    (tmp_path / "runs.json").write_text(json.dumps(runs))
    page = tmp_path / "page.md"
    page.write_text(
        "Before.\n<!-- runs.json: psnr as dB, images, parameters -->\nold\n<!-- end -->\nAfter."
    )
    assert filled(page) == (
        "Before.\n<!-- runs.json: psnr as dB, images, parameters -->\n"
        "| | dB | images | parameters |\n|---|---|---|---|\n"
        "| wae | 11 ± 1.4 | 1,000 | 1.50 M |\n<!-- end -->\nAfter."
    )
    page.write_text(filled(page))
    assert filled(page) == page.read_text()
