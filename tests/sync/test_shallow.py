"""An upstream that does not give what it lists: a shallow clone, to which git says nothing."""

import pytest

from pricore.errors import GitUnavailableError
from tests.harness import GitRepository
from tests.registry import Registry

SHALLOW = "if it is a shallow clone, `git fetch --unshallow` in it makes it whole"


def cut(upstream: GitRepository) -> None:
    """Let a repository have the newest commit alone, as `git clone --depth=1` makes one."""
    (upstream.folder / ".git" / "shallow").write_text(f"{upstream.head()}\n")


async def test_a_shallow_upstream_is_told_as_what_it_is(registry: Registry, upstream: GitRepository) -> None:
    """It is not one without a composer.json: it lists what it does not give."""
    upstream.commit()
    upstream.commit()
    cut(upstream)
    with pytest.raises(GitUnavailableError) as caught:
        await registry.add(upstream)
    head = upstream.head()[:12]
    assert str(caught.value) == (
        f"cannot read {upstream.url}: it lists heads/main at {head} and does not give that: {SHALLOW}"
    )


@pytest.mark.parametrize("vanished", ["keep", "remove"])
async def test_an_upstream_that_becomes_shallow_loses_nothing(
    registry: Registry, upstream: GitRepository, vanished: str
) -> None:
    """Nothing counts as gone, a release neither; when it is whole again, the next sync goes on."""
    await registry.add(upstream)
    repository = await registry.repository(upstream)
    await registry.store.repositories.change(repository, vanished_versions=vanished)
    served = await registry.versions()
    upstream.commit()
    upstream.commit()
    upstream.tag("1.1.0")
    cut(upstream)
    for _ in range(2):
        with pytest.raises(GitUnavailableError, match="does not give that"):
            await registry.sync(upstream)
        assert await registry.versions() == served

    (upstream.folder / ".git" / "shallow").unlink()
    report = await registry.sync(upstream)
    assert (report.added, report.removed, report.kept) == (["acme/library:1.1.0"], [], [])
    assert (await registry.versions())["dev-main"] == upstream.head()
