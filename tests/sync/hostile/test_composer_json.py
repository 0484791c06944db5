"""Whatever a composer.json is, or how many there are: it costs its own ref, and no more."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pricore.vcs.mirror import Mirror
from tests.harness import GitRepository
from tests.registry import Registry
from tests.sync.hostile.harness import blob, reasons, tag_tree, tree


async def test_a_composer_json_that_composer_would_not_read_costs_its_own_ref(
    registry: Registry, upstream: GitRepository
) -> None:
    """Whatever a composer.json is, the reason is told ref by ref, and every other version is served."""
    head = '{"name": "acme/library", '
    bad = {
        "fifty megabytes": (head + '"x": "' + "x" * 50_000_000 + '"}', "larger than 256 kB"),
        "five megabytes of description": (head + f'"description": "{"d" * 5_000_000}"}}', "larger than 256 kB"),
        "10,000 deep": (head + '"x": ' + "[" * 10_000 + "]" * 10_000 + "}", "nested too deeply"),
        "half a surrogate": (head + '"x": "\\ud800"}', "not valid JSON"),
        "NUL": (head + '"x": 1}\0', "not valid JSON"),
        "BOM": ("\ufeff" + head + '"x": 1}', "not valid JSON"),
        "huge number": (head + '"x": 1e999}', "not valid JSON"),
    }
    good = {
        "3.0.0": head + '"type": "library", "type": "metapackage"}',
        "3.1.0": head + '"extra": {"x": 123456789012345678901234567890}}',
        "3.2.0": head + '"description": "<script>\\u202e\\u001b[31m"}',
    }
    expected = {}
    for n, (content, reason) in enumerate(bad.values()):
        upstream.commit(content)
        upstream.tag(f"2.{n}.0")
        expected[f"refs/tags/2.{n}.0"] = reason
    for tag, content in good.items():
        upstream.commit(content)
        upstream.tag(tag)
    found = reasons(await registry.add(upstream))
    assert found.keys() == expected.keys()
    assert all(expected[ref] in reason for ref, reason in found.items()), found
    assert set(await registry.versions()) == {"1.0.0", "dev-main", *good}


async def test_a_huge_composer_json_is_not_unpacked(
    registry: Registry, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size is enough to refuse it: gigabytes that are packed well are not read to be thrown away."""
    for n in range(5):
        tag_tree(upstream, f"2.{n}.0")
    huge = "100644", b"composer.json", blob(upstream, bytes(200 * 1024**2))
    for n in range(100):
        commit = upstream.git("commit-tree", "-m", str(n), tree(upstream, [huge]))
        upstream.git("update-ref", f"refs/tags/3.0.{n}", commit)
    asked: list[str] = []
    read = Mirror.read_blobs

    async def note(mirror: Mirror, blobs: Sequence[str], take: Callable[[str, bytes], None], **more: Any) -> None:
        asked.extend(blobs)
        await read(mirror, blobs, take, **more)

    monkeypatch.setattr(Mirror, "read_blobs", note)
    found = reasons(await registry.add(upstream))
    assert asked
    assert huge[2] not in asked
    assert set(found.values()) == {"composer.json is larger than 256 kB"}


@pytest.mark.parametrize("kind", ["link to a file", "link up", "submodule", "folder"])
async def test_a_composer_json_that_is_no_file_makes_no_version(
    registry: Registry, upstream: GitRepository, kind: str
) -> None:
    """Neither a link, to whatever, nor a submodule nor a folder is followed; the ref says why it is left out."""
    entry = {
        "link to a file": ("120000", b"composer.json", blob(upstream, b"/etc/passwd")),
        "link up": ("120000", b"composer.json", blob(upstream, b"../composer.json")),
        "submodule": ("160000", b"composer.json", upstream.head()),
        "folder": ("40000", b"composer.json", upstream.git("rev-parse", "HEAD^{tree}")),
    }[kind]
    upstream.git("update-ref", "refs/tags/2.0.0", upstream.git("commit-tree", "-m", "x", tree(upstream, [entry])))
    report = await registry.add(upstream)
    assert report.left_out
    assert list(reasons(report)) == ["refs/tags/2.0.0"]
    assert set(await registry.versions()) == {"1.0.0", "dev-main"}
