"""What operators build on stays, whatever modules are called: visible.yaml has all of it."""

import ast
import json
import logging
import signal
import socket
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from pricore.config import Config, find_unknown, is_secret
from pricore.system import logs
from pricore.web.api.openapi import build_document
from tests.harness import Pricore
from tests.house.sources import walk
from tests.web.composer.harness import World

VISIBLE = yaml.safe_load((Path(__file__).parent / "visible.yaml").read_text())


def default(setting: "Field[Any]") -> object:
    """What a setting is where nobody gives it, as a file would have it."""
    if setting.default is MISSING:
        return "required"
    return list(setting.default) if isinstance(setting.default, tuple) else setting.default


def test_settings_keep_their_names_and_defaults() -> None:
    """Each is a key in the file, and PRICORE_ with its name in capitals in the environment."""
    found = {item.name: default(item) for item in fields(Config)}
    assert VISIBLE["settings"] == {name: found[name] for name in VISIBLE["settings"]}
    assert [name for name in VISIBLE["settings"] if is_secret(name)] == VISIBLE["secret settings"]
    secret = [f"PRICORE_{name.upper()}_FILE" for name in VISIBLE["secret settings"]]
    variables = [f"PRICORE_{name.upper()}" for name in VISIBLE["settings"]] + VISIBLE["other variables"] + secret
    assert find_unknown(dict.fromkeys(variables, "x")) == []
    assert len(find_unknown(dict.fromkeys([f"{name}_" for name in variables], "x"))) == len(variables)


async def test_metrics_keep_their_names_types_and_labels(world: World) -> None:
    """What /metrics answers has all that dashboards and alerts ask for."""
    await world.get("/packages.json")
    async with world.client.get("/metrics") as response:
        text = (await response.read()).decode()
    found = {
        family.name: {
            "type": family.type,
            "labels": sorted({label for sample in family.samples for label in sample.labels} - {"le"}),
        }
        for family in text_string_to_metric_families(text)
        if family.name.startswith("pricore_")
    }
    assert found == VISIBLE["metrics"]


def test_loggers_keep_their_names() -> None:
    """They are what a log is filtered by; no module's name is one."""
    found = set()
    for path, node in walk("pricore"):
        match node:
            case ast.Call(func=ast.Attribute(attr="getLogger"), args=[name, *_]):
                match name:
                    case ast.Constant(value=str(text)):
                        found.add(text)
                    case ast.Name(id="ACCESS") | ast.Attribute(attr="ACCESS"):
                        found.add(logs.ACCESS)
                    case _:
                        pytest.fail(f"{path}:{node.lineno}: a logger's name is a text that can be searched for")
    assert found - {"pricore"} == {*VISIBLE["loggers"]}


def test_lines_of_the_log_keep_their_fields(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What a program reads of them is named alike, whoever writes them."""
    log = logging.getLogger("pricore.server")
    try:
        logs.configure(Config(data=tmp_path, log_format="json"))
        try:
            raise ValueError("x")
        except ValueError:
            log.exception("failed", extra={"request": "id"})
    finally:
        logs.configure(Config(data=tmp_path))
    assert [*json.loads(capsys.readouterr().err)] == VISIBLE["log fields"]


async def test_errors_keep_their_shape(world: World) -> None:
    """The statuses that the API can answer with, and the fields of its errors and of those that Composer shows."""
    responses = build_document([])["components"]["responses"]
    assert [int(status) for status in responses] == VISIBLE["errors"]["statuses"]
    bad = await world.ask(f"{world.base}/api/organizations/acme/packages?page=x", await world.token())
    assert [bad.status, *bad.json] == [422, "message", "errors"]
    unknown = await world.ask("/packages.json")
    assert [unknown.status, *unknown.json] == [401, "message", "warning"]
    assert {*bad.json, *unknown.json} == {*VISIBLE["errors"]["fields"]}


def test_exit_statuses_are_few(pricore: Pricore, unused_tcp_port: int) -> None:
    """A script can tell what failed from what was called in a wrong way, and from what was stopped."""
    found = {
        "done": pricore.run("--version", status=0).returncode,
        "failed": pricore.run("org", "show", "nobody", status=1).returncode,
        "wrong usage": pricore.run("org", "show", status=2).returncode,
    }
    with socket.create_server(("127.0.0.1", unused_tcp_port)) as silent:
        silent.settimeout(60)
        for name, stop in (("interrupted", signal.SIGINT), ("stopped", signal.SIGTERM)):
            with pricore.background("repo", "add", "acme", f"git://127.0.0.1:{unused_tcp_port}/x") as process:
                connection, _ = silent.accept()
                with connection:
                    process.send_signal(stop)
                    found[name] = process.wait(60)
    assert found == VISIBLE["exit statuses"]
