"""What is remembered of an operation on tensors without content is what torch would give again."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pipeline.planning.meta import Remembered

Step = Callable[[Tensor], Tensor | tuple[Tensor, ...]]
NEW: dict[str, Step] = {
    "a sum": lambda x: x + torch.empty(3, 1, 1, device="meta"),
    "another type": lambda x: x.to(torch.bfloat16),
    "a convolution": lambda x: torch.nn.functional.conv2d(x, x[:, :, :3, :3], padding=1),
    "another layout": lambda x: x.transpose(1, 3).contiguous() * 2,
    "a layout that is kept": lambda x: x.transpose(1, 3) * 2,
    "two results": lambda x: torch.var_mean(x, (2, 3)),
    "no dimensions": lambda x: x.sum(),
}


def described(found: Tensor | tuple[Tensor, ...]) -> list[object]:
    results = found if isinstance(found, tuple) else (found,)
    return [(t.shape, t.stride(), t.dtype, t.device.type) for t in results]


@pytest.mark.parametrize("what", NEW)
def test_a_result_has_the_same_shape_again_and_memory_of_its_own(what: str) -> None:
    step, x = NEW[what], torch.empty(2, 3, 8, 8, device="meta")
    with Remembered():
        first, second = step(x), step(x)
    assert described(first) == described(second) == described(step(x))
    results = [
        t for found in (first, second) for t in (found if isinstance(found, tuple) else [found])
    ]
    assert len({t.untyped_storage()._cdata for t in results}) == len(results)


def test_views_and_changes_in_place_are_torchs_own() -> None:
    x = torch.empty(2, 3, device="meta")
    with Remembered():
        for _ in range(2):
            assert x.add_(1) is x
            assert x[0].untyped_storage()._cdata == x.untyped_storage()._cdata


def test_what_depends_on_content_is_computed() -> None:
    with Remembered():
        assert [float(torch.full((3,), value).sum()) for value in (1.0, 2.0)] == [3.0, 6.0]
