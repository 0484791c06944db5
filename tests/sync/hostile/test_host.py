"""The machine's own git, its configuration and its hooks play no part."""

import io
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.harness import GitRepository
from tests.registry import Registry


async def test_the_git_of_the_host_machine_plays_no_part(
    registry: Registry, upstream: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither configuration, nor hooks, templates, attributes or GIT_* variables of the machine do anything."""
    trace = tmp_path / "trace"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$0" >> {trace}\nexit 1\n')
    program.chmod(0o755)
    template = tmp_path / "template"
    for folder in (template / "hooks", upstream.folder / ".git" / "hooks", tmp_path / "hooks"):
        folder.mkdir(parents=True, exist_ok=True)
        for hook in ("reference-transaction", "post-update", "pre-receive", "post-checkout", "pre-auto-gc"):
            shutil.copy(program, folder / hook)
    (tmp_path / "included").write_text(f"[core]\n\tfsmonitor = {program}\n")
    settings = f"""
[core]
    hooksPath = {tmp_path / "hooks"}
    fsmonitor = {program}
    sshCommand = {program}
    gitProxy = {program}
    bigFileThreshold = 1
[uploadpack]
    packObjectsHook = {program}
[init]
    templateDir = {template}
[credential]
    helper = {program}
[safe]
    bareRepository = explicit
[includeIf "gitdir:/"]
    path = {tmp_path / "included"}
[url "file:///nowhere"]
    insteadOf = {upstream.folder}
"""
    home = tmp_path / "home"
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".gitconfig").write_text(settings)
    (home / ".config" / "git" / "config").write_text(settings)
    (home / ".config" / "git" / "attributes").write_text("* export-ignore\n")
    for name, value in {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_SYSTEM": str(home / ".gitconfig"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(tmp_path / "hooks"),
        "GIT_DIR": str(tmp_path / "elsewhere"),
        "GIT_TEMPLATE_DIR": str(template),
        "GIT_EXEC_PATH": str(tmp_path),
        "GIT_SSH_COMMAND": str(program),
        "GIT_PROXY_COMMAND": str(program),
        "GIT_EXTERNAL_DIFF": str(program),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "objects"),
        "GIT_TRACE": str(trace),
        "GIT_ATTR_SOURCE": "nowhere",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_NAMESPACE": "elsewhere",
    }.items():
        monkeypatch.setenv(name, value)
    report = await registry.add(upstream)
    monkeypatch.undo()
    assert sorted(report.added) == ["acme/library:1.0.0", "acme/library:dev-main"]
    assert not trace.exists(), trace.read_text()
    mirror = await registry.mirror(upstream)
    assert not (mirror.path / "hooks").exists()
    names = await mirror.archive(
        upstream.head(), lambda output: zipfile.ZipFile(io.BytesIO(output.read())).namelist()
    )
    assert f"{upstream.head()[:12]}/composer.json" in names
