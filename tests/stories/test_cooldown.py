"""A team that waits some days before it takes a release: `published-time`, and the choice of the operator."""

import json
from collections.abc import Callable

from tests.harness import Client, GitRepository, Pricore


def times(client: Client) -> dict[str, str]:
    """The day on which each version was published."""
    return {
        version: str(entry["published-time"])[:10] for version, entry in client.versions("acme/library").items()
    }


def test_releases_are_published_when_they_come_or_as_they_were_tagged(
    pricore: Pricore, make_repository: Callable[[str], GitRepository]
) -> None:
    """An import is of today, unless the operator lets the tags' dates count; branches stay what they are."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})  # of 2023
    upstream.tag("1.0.0")
    upstream.tag("1.1.0", annotated=True)
    pricore.run("repo", "add", "acme", upstream.url)
    token = pricore.token()
    with pricore.serving() as server:
        client = Client(server["url"], token)
        today = times(client)["1.0.0"]
        assert today > "2026"
        assert times(client) == dict.fromkeys(("1.0.0", "1.1.0", "dev-main"), today)

        (done,) = pricore.json("repo", "backdate", "acme")
        assert done == {"repository": upstream.url, "backdated": 2}
        assert times(client) == {"1.0.0": "2023-11-14", "1.1.0": "2023-11-14", "dev-main": today}
        assert "0 releases" in pricore.run("repo", "backdate", "acme", upstream.url).stdout

        other = make_repository("other")
        other.commit({"name": "acme/other"})
        other.tag("1.0.0")
        pricore.run("repo", "add", "acme", other.url, "--backdate")
        entry = client.versions("acme/other")["1.0.0"]
        assert str(entry["published-time"]).startswith("2023-11-14"), json.dumps(entry)
    pricore.run("repo", "add", "acme", other.url, "--backdate", "--no-sync", status=2)
