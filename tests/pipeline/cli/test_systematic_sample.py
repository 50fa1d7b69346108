"""Images that are kept of many are spread over all of them."""

import pytest
import torch

from pipeline.cli.systematic_sample import SystematicSample


@pytest.mark.parametrize("size", [1, 7, 64])
@pytest.mark.parametrize("count", [5, 10, 11, 300])
def test_what_is_kept_is_spread_over_all(count: int, size: int) -> None:
    sample = SystematicSample(10)
    for part in torch.arange(count)[:, None].split(size):
        sample.add(part)
    kept = torch.cat(sample.images)
    step = next(step for step in (1, 2, 4, 8, 16, 32) if -(-count // step) <= 10)
    assert kept.tolist() == [*range(0, count, step)]
