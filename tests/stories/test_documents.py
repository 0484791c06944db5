"""README and docs/ can be followed: each shell line is run as it stands, or says why no test runs it."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.documents import PAGES, Block, blocks
from tests.harness import Client, Composer, GitRepository, Pricore, any_composer, need

FROM_NOTHING = ("README.md", "start.md")
"""The pages that begin on a machine with nothing on it; all others are read by who has a registry already."""

RUN = [page for page in PAGES if any(not block.reason for block in blocks(page))]


def pack(**composer: str) -> bytes:
    """A zip with a composer.json of acme/words."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("composer.json", json.dumps({"name": "acme/words"} | composer))
    return content.getvalue()


class Reader:
    """Who follows a page, in the folder of a PHP project.

    What is an example on the page `stands_for` something that is there.
    """

    def __init__(
        self, pricore: Pricore, composer: Composer, folder: Path, make: Callable[[str], GitRepository]
    ) -> None:
        self.pricore = pricore
        self.folder = folder
        self._composer = composer
        self._stack = ExitStack()
        programs = folder / "bin"
        programs.mkdir()
        (programs / "pricore").write_text(f'#!/bin/sh\nexec {sys.executable} -W error -m pricore "$@"\n')
        (programs / "pricore").chmod(0o755)
        self._environment = pricore.environment | composer.environment()
        self._environment["PATH"] = f"{programs}{os.pathsep}{self._environment['PATH']}"
        library, mono = make("team/library"), make("acme/mono")
        library.commit({"name": "acme/library"}, files={"a.txt": "a"})
        library.tag("1.0.0")
        mono.commit(
            files={
                f"{name}/composer.json": f'{{"name": "mono/{name[-3:]}"}}'
                for name in ("packages/one", "tools/cli")
            }
        )
        self.stands_for = {
            "https://git.example.com/team/library.git": library.url,
            "git@git.example.com:team/library.git": library.url,
            "https://git.example.com/acme/mono.git": mono.url,
            "acme team/library": f"acme {library.url}",
            "/etc/pricore": str(folder / "etc"),
            "/etc/ssl/certs/acme.pem": "/etc/ssl/certs/ca-certificates.crt",
            "/backups": str(folder),
            "sudo -u pricore ": "",
        }

    def leave(self) -> None:
        """Stop what serves."""
        self._stack.close()

    def serve(self, *arguments: str) -> dict[str, Any]:
        """Serve until the end, or until something else serves; gives what it says."""
        self._stack.close()
        made: dict[str, Any] = self._stack.enter_context(self.pricore.serving(*arguments))
        self.stands_for["https://packages.example.com"] = made["url"]
        self.stands_for["packages.example.com"] = made["url"].partition("//")[2]
        return made

    def settle(self) -> None:
        """Have what most pages begin with: a registry that serves acme/library, and a project with a lock file."""
        self.pricore.found()
        url = self.serve()["url"]
        self.pricore.run("repo", "add", "acme", self.stands_for["https://git.example.com/team/library.git"])
        scopes = ("packages:read", "packages:write", "repositories:read", "repositories:write")
        made = self.pricore.json(
            "token", "create", "acme", "all", *(part for one in scopes for part in ("--scope", one))
        )
        client = Client(url, made["token"])
        (repository,) = client.read("/api/organizations/acme/repositories")["data"]
        runs = client.read(f"/api/organizations/acme/repositories/{repository['id']}/sync-runs")["data"]
        secret = self.pricore.json("repo", "webhook", "acme", repository["id"])["secret"]
        self._composer.write(name="acme/words", require={"acme/library": "*"}, registry=f"{url}/org/acme")
        self._composer.log_in(url, made["token"])
        self._composer.run("update")
        self._environment |= {
            "TOKEN": made["token"],
            "ID": repository["id"],
            "RUN": runs[0]["id"],
            "SECRET": secret,
            "VERSION": "1.1.0",
        }
        self.stands_for |= {
            "$PRICORE_TOKEN": made["token"],
            "REPOSITORY_ID": repository["id"],
            "revoke acme ID": f"revoke acme {self.pricore.json('token', 'create', 'acme', 'other')['id']}",
            "token pri_...": f"token {made['token']}",
        }
        project = self._composer.folder
        (project / "words-1.2.0.zip").write_bytes(pack(version="1.2.0"))
        (project / "words.zip").write_bytes(pack())
        satis = {
            "name": "acme/satis",
            "repositories": [{"type": "git", "url": self.stands_for["https://git.example.com/team/library.git"]}],
        }
        (project / "satis.json").write_text(json.dumps(satis))
        (self.folder / "etc").mkdir()
        (self.folder / "etc" / "config.yaml").write_text("log_level: info\n")
        (self.folder / "etc" / "pricore.env").write_text(
            f"# for the service\nPRICORE_PORT={url.rpartition(':')[2]}\n"
        )

    def follow(self, block: Block) -> None:
        """Type what a block says, command by command."""
        for command in block.commands:
            typed = command
            for example, real in self.stands_for.items():
                typed = typed.replace(example, real)
            words = typed.partition(" #")[0].split()
            if words[:2] in (["pricore", "serve"], ["pricore", "quickstart"]):
                self.serve(*words[1:])
                continue
            done = subprocess.run(
                ["bash", "-c", typed],
                cwd=self._composer.folder,
                env=self._environment,
                input="tok-3n1gm4\n",  # where a secret is asked for
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            said = done.stdout + done.stderr
            assert (done.returncode, "Traceback" in said) == (0, False), f"{block.page}: {typed}\n{said}"
            if words[:3] == ["pricore", "token", "create"]:
                self.stands_for["token pri_..."] = (
                    f"token {next(word for word in said.split() if word.startswith('pri_'))}"
                )


@pytest.fixture
def reader(
    tmp_path: Path, make_repository: Callable[[str], GitRepository], composer: Composer
) -> Iterator[Reader]:
    need("bash", "curl", "zip")
    reader = Reader(Pricore(tmp_path / "data"), composer, tmp_path, make_repository)
    yield reader
    reader.leave()


@any_composer
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_a_page_can_be_followed(reader: Reader, page: Path) -> None:
    """Each of its commands does what it should, one after the other."""
    if page.name not in FROM_NOTHING:
        reader.settle()
    reader.stands_for["/var/lib/pricore"] = str(
        reader.folder / "restored" if page.name == "backup.md" else reader.pricore.data
    )
    for block in blocks(page):
        if not block.reason:
            reader.follow(block)
