"""Each kind of Git host is known whole, in one place, and told to people wherever hosts are told."""

import ast
from pathlib import Path

import pytest

import pricore
from pricore.hosts.provider import Provider
from pricore.hosts.table import PROVIDERS
from tests.documents import ROOT
from tests.hosts.harness import RECORDED, WITH_API

SOURCE = Path(pricore.__file__).parent
every_provider = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)


def test_a_provider_is_named_in_its_own_file_alone() -> None:
    """Whatever depends on the kind of a host stands there: a new one is a file and its line in the table."""
    names = {name for item in PROVIDERS.values() for name in (item.name, *item.aliases)} - {"git"}
    found = {
        (str(path.relative_to(SOURCE)), node.value)
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert found
    assert {path for path, _ in found} <= {f"hosts/{name}.py" for name in PROVIDERS}


@every_provider
def test_a_provider_is_in_the_documents(provider: Provider) -> None:
    """docs/providers.md has a line for each that says in which header its proof is."""
    lines = (ROOT / "docs" / "providers.md").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"| `{provider.name}`")]
    assert all(f"`{alias}`" in line for alias in provider.aliases)
    assert all(f"`{header}" in line for header in provider.webhook.proofs.split(" or "))


@every_provider
def test_a_provider_says_where_its_webhook_is_pasted(provider: Provider) -> None:
    """In lines that a terminal has room for; what stands in braces is the address or the secret."""
    shown = provider.webhook.steps.format(url="https://packages.example.com/x", secret="whsec_x")
    assert all(shown.splitlines())


def test_a_provider_is_tried_as_it_answers() -> None:
    """Each API against what was recorded of it."""
    assert set(WITH_API) <= {path.stem for path in RECORDED.iterdir()}
