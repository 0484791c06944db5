"""What a sync found is told in words, each version by name."""

from collections.abc import Callable

from tests.harness import GitRepository, Pricore


def test_a_tag_that_comes_back_is_told(pricore: Pricore, make_repository: Callable[[str], GitRepository]) -> None:
    """A release whose tag had gone and is where it was changes nothing that is served, and is named."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    upstream.tag("1.0.0")
    pricore.run("repo", "add", "acme", upstream.url)
    upstream.git("tag", "-d", "1.0.0")
    pricore.run("repo", "sync", "acme")
    upstream.tag("1.0.0")

    said = pricore.run("repo", "sync", "acme").stdout
    assert said == f"{upstream.url}: acme/library\n  1 back upstream: 1.0.0\n"
    assert pricore.run("repo", "sync", "acme").stdout == f"{upstream.url}: nothing new\n"
