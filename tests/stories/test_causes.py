"""What set a sync off is in the history, and what came of it in the log."""

from collections.abc import Callable

from tests.harness import Client, GitRepository, Pricore


def test_the_history_says_what_set_a_sync_off_and_the_log_what_came_of_it(
    pricore: Pricore, make_repository: Callable[[str], GitRepository]
) -> None:
    """The first one, the command line, the API, a webhook, a change of the repository, and the schedule."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    pricore.run("repo", "add", "acme", upstream.url)
    upstream.tag("1.0.0")
    pricore.run("repo", "sync", "acme")
    (repository,) = pricore.json("repo", "list", "acme")

    def causes() -> list[str | None]:
        runs = pricore.json("repo", "history", "acme", "library")
        return [run["cause"] for run in reversed(runs) if run["status"] == "ok"]

    assert causes() == ["first", "cli"]
    hook = pricore.json("repo", "webhook", "acme", "library", "--provider", "git")
    with pricore.serving() as server:
        client = Client(server["url"], pricore.token("--scope", "repositories:write"))
        upstream.tag("1.1.0")
        path = f"/api/organizations/acme/repositories/{repository['id']}/sync"
        assert client.ask("POST", path)[0] in (200, 202)
        pricore.wait(lambda: len(causes()) == 3, seconds=60)
        upstream.tag("1.2.0")
        path = f"/webhooks/git/{repository['id']}"
        assert client.ask("POST", path, {}, secret=hook["secret"])[0] in (200, 202)
        pricore.wait(lambda: len(causes()) == 4, seconds=60)
        upstream.tag("1.3.0")
        pricore.run("repo", "change", "acme", "library", "--vanished", "keep")
        pricore.wait(lambda: len(causes()) == 5, seconds=60)
        upstream.tag("1.4.0")
        pricore.run("repo", "change", "acme", "library", "--sync-interval", "1s")
        pricore.wait(lambda: len(causes()) == 6, seconds=60)
    assert causes() == ["first", "cli", "api", "webhook", "change", "schedule"]
    log = (pricore.data.parent / "data-serve.log").read_text()
    for cause in ("api", "webhook", "change", "schedule"):
        assert f"{upstream.url}: 1 added, 0 updated, 0 removed ({cause})" in log
    shown = pricore.run("repo", "history", "acme", "library").stdout
    assert "webhook" in shown
    assert "1 added" in shown
