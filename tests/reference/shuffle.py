"""The order of images by docs/format.md, listed an epoch at a time: slow, with plain integers."""

from collections.abc import Callable, Sequence

RUNS, WINDOW, FLIP, LAST = 1, 2, 3, 4
ROUNDS = 6
MASK = 2**64 - 1


def order_of(shard_samples: Sequence[int], seed: int, shuffle_img: int, epoch: int) -> list[int]:
    """The ids of all samples, as the epoch shows them."""
    ids = list(range(sum(shard_samples)))
    # 1. The ids are cut into runs as long as the largest shard; the last run may be short.
    length = max(shard_samples)
    runs = [ids[i : i + length] for i in range(0, len(ids), length)]
    # 2. The last run is dealt to a slot of its own draw, the others by a permutation.
    deal = permutation(len(runs) - 1, hashed(RUNS, seed, epoch))
    slots = [runs[deal(i)] for i in range(len(runs) - 1)]
    slots.insert(below(len(runs), hashed(LAST, seed, epoch)), runs[-1])
    # 3. Consecutive slots form a window.  4. The images of a window are permuted.
    shown: list[int] = []
    wide = max(1, shuffle_img // length)
    for number, first in enumerate(range(0, len(slots), wide)):
        window = [i for run in slots[first : first + wide] for i in run]
        place = permutation(len(window), hashed(WINDOW, seed, epoch, number))
        shown += [window[place(i)] for i in range(len(window))]
    return shown


def is_flipped(seed: int, sample_id: int, epoch: int) -> bool:
    """Whether a sample is mirrored in an epoch: the top bit of a hash."""
    return bool(hashed(FLIP, seed, epoch, sample_id) >> 63)


def permutation(n: int, key: int) -> Callable[[int], int]:
    """A permutation of 0 ... n-1: a Feistel cipher over a x b >= n numbers, walked to below n."""
    a = next(a for a in range(n + 1) if a * a >= n)
    b = -(-n // a) if a else 0

    def of(x: int) -> int:
        left, right = divmod(x, b)
        for i in range(ROUNDS):
            if i % 2:
                right = (right + below(b, splitmix64((key + i & MASK) ^ left))) % b
            else:
                left = (left + below(a, splitmix64((key + i & MASK) ^ right))) % a
        found = left * b + right
        return found if found < n else of(found)

    return of


def below(n: int, word: int) -> int:
    """64 well-mixed bits -> a number below n."""
    return (word >> 32) * n >> 32


def hashed(*parts: int) -> int:
    """Integers -> 64 well-mixed bits."""
    state = 0
    for part in parts:
        state = splitmix64(state ^ part & MASK)
    return state


def splitmix64(x: int) -> int:
    """Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014)."""
    x = x + 0x9E3779B97F4A7C15 & MASK
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31
