"""How much is measured: the real thing, and a small one that only shows that everything works."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Effort:
    """The numbers that decide how long a run takes.

    `tags` and `files` make up the large repository, `many_tags` the largest. `repositories` are as many as one
    instance may follow, and all are looked at within `look_seconds`. `slices` of load, `starts`, `pairs` of
    imports and of updates, `syncs` and `pushes` are how often each is timed. `packages` are the sizes of
    organizations, `distance` is how far away a client is, seconds there and back. `dists` are archives that are
    downloaded, and `large_dists` says whether a large one is too; `commands` are how often one is run. `sizes`
    are numbers of packages, the smallest first, and `crowd` is how many clients there are at the same time.
    `imports` are how often an import is timed again after Satis has built the same. `repository` is one to
    compare with Satis on, instead of one that is made up.

    Answers are timed for `beside_seconds` beside what others do: `cold` archives at a time, a search among
    `provided` versions, a first sync of `most_tags`, checks of `locked` packages. `hosts` are names of the server
    by which one document is asked for.
    """

    tags: int
    many_tags: int
    files: int
    repositories: int
    look_seconds: int
    slices: int
    starts: int
    pairs: int
    syncs: int
    pushes: int
    packages: tuple[int, ...]
    distance: float
    dists: int
    large_dists: bool
    commands: int
    sizes: tuple[int, ...]
    crowd: int
    imports: int
    beside_seconds: float
    cold: int
    provided: int
    most_tags: int
    locked: int
    hosts: int
    repository: str = ""


FULL: Final = Effort(
    tags=600,
    many_tags=1000,
    repositories=1000,
    look_seconds=60,
    files=150,
    slices=200,
    starts=5,
    pairs=7,
    syncs=200,
    pushes=40,
    packages=(1, 5, 20, 60),
    distance=0.03,
    dists=30,
    large_dists=True,
    commands=20,
    sizes=(10, 1_000, 10_000),
    crowd=1000,
    imports=4,
    beside_seconds=15.0,
    cold=40,
    provided=50_000,
    most_tags=19_999,
    locked=1000,
    hosts=2000,
)
QUICK: Final = Effort(
    tags=30,
    many_tags=60,
    repositories=10,
    look_seconds=2,
    files=10,
    slices=5,
    starts=1,
    pairs=1,
    syncs=3,
    pushes=2,
    packages=(2,),
    distance=0.005,
    dists=3,
    large_dists=False,
    commands=2,
    sizes=(2, 10),
    crowd=100,
    imports=0,
    beside_seconds=0.2,
    cold=4,
    provided=200,
    most_tags=60,
    locked=3,
    hosts=300,
)
