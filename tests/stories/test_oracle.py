"""Against the oracle: Pricore serves the versions that Composer finds when it reads the repository itself.

Each scenario is a repository with one kind of trap (oracle/). Composer reads all of them in one run
(tests/oracle.php), and loads what Pricore serves of them in the same run.
"""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.harness import Client, GitRepository, Pricore, need, once
from tests.stories.oracle import composer_json, refs

ORACLE = Path(__file__).parents[1] / "oracle.php"
SCENARIOS = refs.SCENARIOS | composer_json.SCENARIOS
STOPPER = "fields-that-stop-composer"


class Answers(msgspec.Struct, frozen=True):
    """Of one scenario: what Composer found, what Pricore shows, and what Composer loads of what it serves.

    The two of Composer's are texts where it died.
    """

    found: list[dict[str, Any]] | str
    shown: set[tuple[str, str, str]]
    loaded: list[dict[str, Any]] | str


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answers]:
    """The answers by scenario: everything is asked at once, since programs take their time to start."""
    need("php", "composer")
    made = once(tmp_path_factory, "oracle", lambda folder: msgspec.json.encode(_ask(folder)))
    return msgspec.json.decode(made, type=dict[str, Answers])


def _ask(folder: Path) -> dict[str, Answers]:
    pricore = Pricore(folder / "data")
    pricore.found()
    upstream = {scenario: folder / "upstream" / scenario for scenario in (*SCENARIOS, STOPPER)}

    def register(scenario: str) -> list[str]:
        """The packages of a scenario."""
        repository = GitRepository(upstream[scenario])
        build = composer_json.fields_that_stop_composer if scenario == STOPPER else SCENARIOS[scenario].build
        build(repository, f"acme/{scenario}")
        names: list[str] = pricore.json("repo", "add", "acme", repository.url)["packages"]
        return names

    with ThreadPoolExecutor(2) as pool:
        registered = dict(zip(upstream, pool.map(register, upstream), strict=True))
    with pricore.serving() as server:
        client = Client(server["url"], pricore.token())
        documents = {
            scenario: [client.read(f"/org/acme/p2/{name}{half}.json") for name in names for half in ("", "~dev")]
            for scenario, names in registered.items()
        }
        shown = {
            scenario: {
                (name, version["version"], version["version_normalized"])
                for name in names
                for version in client.versions(name).values()
            }
            for scenario, names in registered.items()
        }
    answered = _ask_composer(
        folder / "composer",
        repositories={scenario: str(path) for scenario, path in upstream.items()},
        documents=documents,
    )
    return {
        scenario: Answers(answered["repositories"][scenario], shown[scenario], answered["documents"][scenario])
        for scenario in registered
    }


def _ask_composer(home: Path, **question: object) -> Any:
    done = subprocess.run(
        ["php", str(ORACLE)],
        input=json.dumps({"repositories": {}, "documents": {}} | question),
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "COMPOSER_HOME": str(home),
            "COMPOSER_ALLOW_SUPERUSER": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def _first_of_each(packages: list[dict[str, Any]] | str) -> dict[tuple[str, str], dict[str, Any]]:
    """The packages by (name, version); of branches that make the same version, the first one counts."""
    assert isinstance(packages, list), packages
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for package in packages:
        found.setdefault((package["name"], package["version"]), package)
    return found


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_versions_are_those_that_composer_finds(answers: dict[str, Answers], scenario: str) -> None:
    """Names, pretty and normalized versions are those of Composer's own `vcs` repository."""
    found = _first_of_each(answers[scenario].found)
    expected = {(name, version, package["normalized"]) for (name, version), package in found.items()}
    left_out = {version for version in expected if version[1] in SCENARIOS[scenario].left_out}
    assert {version for _, version, _ in left_out} == SCENARIOS[scenario].left_out
    assert expected - left_out == answers[scenario].shown


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_metadata_loads_as_what_composer_reads(answers: dict[str, Answers], scenario: str) -> None:
    """What is served means to Composer what the repository does: commit, time, type, links and branch aliases."""
    found = _first_of_each(answers[scenario].found)
    expected = {key: package for key, package in found.items() if key[1] not in SCENARIOS[scenario].left_out}
    assert expected == _first_of_each(answers[scenario].loaded)


def test_fields_of_odd_types_stop_nobody(answers: dict[str, Answers]) -> None:
    """A field that Composer dies of is dropped, and the version and all others of its package load."""
    assert str(answers[STOPPER].found).startswith("TypeError")
    loaded = _first_of_each(answers[STOPPER].loaded)
    assert {version for _, version, _ in answers[STOPPER].shown} == {version for _, version in loaded}
    assert len(loaded) == 30
    assert loaded[f"acme/{STOPPER}", "dev-main"]["type"] == "library"
