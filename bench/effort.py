"""How much is measured: the real thing, and a small one that only shows that everything works."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Effort:
    """The numbers that decide how long a run takes.

    `tags` and `files` make up the large repository. `slices` of load, `pairs` of imports and of updates, `syncs`
    and `pushes` are how often each is timed. `packages` are the sizes of organizations, and `distance` is how far
    away a client is, seconds there and back.
    """

    tags: int
    files: int
    slices: int
    pairs: int
    syncs: int
    pushes: int
    packages: tuple[int, ...]
    distance: float


FULL: Final = Effort(
    tags=600, files=150, slices=200, pairs=7, syncs=50, pushes=20, packages=(1, 5, 20, 60), distance=0.03
)
QUICK: Final = Effort(tags=30, files=10, slices=5, pairs=1, syncs=3, pushes=2, packages=(2,), distance=0.005)
