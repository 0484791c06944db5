"""The OpenAPI document of a server that runs, and requests made of it: everything answers as it is documented."""

import asyncio
import json
import re
import secrets
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

import hypothesis
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode
from schemathesis.openapi.checks import JsonSchemaError, UndefinedStatusCode

from pricore.auth.access_tokens import create_secret
from pricore.auth.sealing import Sealer, WebhookSecrets
from pricore.config import Config
from pricore.hosts.addresses import parse_address
from pricore.models import SCOPES, LockedPackage
from pricore.store import Store
from tests.harness import Pricore
from tests.rules import token_name
from tests.store.harness import publish, released
from tests.web.api.test_matrix import ROWS

WEBHOOK = ("POST", "/webhooks/{provider}/{id}")
OPERATIONS = [*ROWS, WEBHOOK]
EXAMPLES = 60

load_all_checks()
schemathesis.serializer.alias("application/zip", "application/octet-stream")
NOT_HELD = {
    # rules are finer than a schema can say: a name may be printable only, an address must not reach inside
    "positive_data_acceptance",
    # one request at a time is made here, none builds on another
    "use_after_free",
    "ensure_resource_availability",
    "object_level_authorization",
}
HELD: list[Any] = [check for check in CHECKS.get_all() if check.__name__ not in NOT_HELD]


class Stock(msgspec.Struct, frozen=True):
    """What is there to ask about: the parts of paths by their name, and the secret of the webhook."""

    names: Mapping[str, str]
    token: str
    webhook_secret: str


class Server(msgspec.Struct, frozen=True):
    """A server that runs, its document, and a token that may do everything."""

    url: str
    config: Config
    secret: str
    document: dict[str, Any]

    def stock(self) -> Stock:
        """Put there what a request may have deleted."""
        return asyncio.run(self._stock())

    async def _stock(self) -> Stock:
        async with Store(self.config.database) as store:
            organizations = store.organizations
            acme = await organizations.find("acme") or await organizations.create("acme", "Acme")
            address = parse_address("http://127.0.0.1:1/library.git")
            found = [item for item in await store.repositories.of_organization(acme.id) if item.url == address.url]
            repository = found[0] if found else await store.repositories.add(acme, address)
            # another commit each time: that of a deleted version would be passed over
            await publish(store, repository, released("9.9.9", reference=secrets.token_hex(20)))
            locked = LockedPackage(
                organization="acme", package="acme/library", version="0.1.0", address="0.1.0", shasum="0" * 40
            )
            await store.locks.register(acme, "production", [locked])
            run = await store.runs.begin(repository.id, started_at=1_700_000_000)
            made = await store.tokens.create(
                {acme: ()}, name=token_name(), token_hash=secrets.token_bytes(32), scopes=[]
            )
            webhook = await WebhookSecrets(store, Sealer(self.config.key)).provide(repository.id, rotate=False)
        names = {
            "slug": "acme",
            "package": "acme/library",
            "version": "9.9.9",
            "name": "production",
            "provider": "git",
            "id": repository.id,
            "run": run,
        }
        return Stock(names, made.id, webhook)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a new data folder."""
    data = tmp_path_factory.mktemp("openapi") / "data"
    many = "2000000000"
    pricore = Pricore(data, internal_hosts="127.0.0.1", requests_per_minute=many, failures_per_minute=many)
    pricore.found()
    scopes = [part for scope in SCOPES for part in ("--scope", scope)]
    secret = pricore.json("token", "create", "--instance", "operator", *scopes)["token"]
    with pricore.serving() as serving:
        with urllib.request.urlopen(f"{serving['url']}/api/openapi.json", timeout=10) as response:
            document = json.load(response)
        yield Server(serving["url"], Config(data=data), secret, document)


def sent_with(label: tuple[str, str], stock: Stock) -> dict[str, Any]:
    """What makes a request a good one beside its path: a body that the rules take, or the secret."""
    if label == WEBHOOK:
        return {"headers": {"X-Webhook-Secret": stock.webhook_secret}}
    document = ROWS[label].document
    if document is None:
        return {}
    if isinstance(document, bytes):
        return {"body": document, "media_type": "application/zip"}
    if "url" in document:
        document = document | {"url": f"http://127.0.0.1:1/{uuid.uuid4()}.git"}
    if label == ("POST", "/api/organizations"):
        document = document | {"slug": uuid.uuid4().hex}
    return {"body": document, "media_type": "application/json"}


@pytest.mark.parametrize("label", OPERATIONS, ids=[" ".join(label) for label in OPERATIONS])
@pytest.mark.filterwarnings("default")  # of the generator's own
def test_an_operation_answers_as_documented(server: Server, label: tuple[str, str]) -> None:
    """Good requests, random ones and wrong ones: no 5xx, no status, header or shape but documented ones."""
    method, path = label
    schema = schemathesis.openapi.from_dict(server.document)
    operation = schema[path][method]
    stock = server.stock()
    names = {name: stock.names[name] for name in re.findall(r"\{(\w+)\}", path)}
    if "/tokens/{id}" in path:
        names["id"] = stock.token
    about: dict[str, Any] = {"path_parameters": names} if names else {}
    good = operation.as_strategy(**about, **sent_with(label, stock))
    kinds = [good, operation.as_strategy(**about), operation.as_strategy()]
    if operation.body or operation.query or names:
        kinds.append(operation.as_strategy(GenerationMode.NEGATIVE))
    answered = set()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @given(data=st.data(), kind=st.sampled_from(kinds))
    def ask(data: st.DataObject, kind: st.SearchStrategy[Any]) -> None:
        case = data.draw(kind)
        headers = {} if label == WEBHOOK else {"Authorization": f"Bearer {server.secret}"}
        response = case.call(base_url=server.url, headers=headers)
        answered.add(response.status_code)
        case.validate_response(response, checks=HELD, headers=headers)
        if method == "DELETE" and response.status_code == 200:
            server.stock()

    ask()
    documented = {int(status) for status in server.document["paths"][path][method.lower()]["responses"]}
    assert answered & documented & {200, 201}, f"no good request was made: {answered}"
    assert len(answered) > 1 or label in (("GET", "/api/organizations"), ("GET", "/api/token")), "none was wrong"


def test_the_document_has_every_route(server: Server) -> None:
    """What is in the table of routes is documented, and nothing else is."""
    documented = {
        (method.upper(), path) for path, methods in server.document["paths"].items() for method in methods
    }

    assert documented == set(OPERATIONS)
    names = [item["operationId"] for methods in server.document["paths"].values() for item in methods.values()]
    assert len(names) == len(set(names))


def test_the_document_is_valid(server: Server) -> None:
    """It is OpenAPI 3.1 by the specification's own schema, and every reference in it leads somewhere."""
    schemathesis.openapi.from_dict(server.document).validate()
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(server.document)):
        place = server.document
        for part in reference.split("/"):
            place = place[part]


def test_scopes_are_documented(server: Server) -> None:
    """Each operation names the scope that it needs."""
    for (method, path), row in ROWS.items():
        description = server.document["paths"][path][method.lower()].get("description", "")
        assert (f"`{row.scope}`" in description) == (row.scope is not None), path


def test_a_defect_would_be_found(server: Server) -> None:
    """The checks above fail for a status that isn't documented, and for a shape that is another one."""
    document = json.loads(json.dumps(server.document))
    operation = document["paths"]["/api/token"]["get"]
    operation["responses"]["200"]["content"]["application/json"]["schema"] = {"type": "array"}
    headers = {"Authorization": f"Bearer {server.secret}"}
    case = schemathesis.openapi.from_dict(document)["/api/token"]["GET"].Case()
    with pytest.RaisesGroup(pytest.RaisesExc(JsonSchemaError)):
        case.call_and_validate(base_url=server.url, headers=headers, checks=HELD)
    del operation["responses"]["200"]
    case = schemathesis.openapi.from_dict(document)["/api/token"]["GET"].Case()
    with pytest.RaisesGroup(pytest.RaisesExc(UndefinedStatusCode)):
        case.call_and_validate(base_url=server.url, headers=headers, checks=HELD)


class Links(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.references: set[str] = set()
        self.ids: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.add(tag)
        self.ids |= {found["id"] or ""} if "id" in found else set()
        self.references |= {found[name] or "" for name in ("href", "src", "action") if name in found}


def test_the_page_needs_nothing_from_elsewhere(server: Server) -> None:
    """/api/docs shows every operation and record, refers to itself and the document alone, and runs no script."""
    with urllib.request.urlopen(f"{server.url}/api/docs", timeout=10) as response:
        page, headers = response.read().decode(), response.headers
    links = Links()
    links.feed(page)

    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert not links.tags & {"script", "link", "img", "iframe"}
    assert {item for item in links.references if not item.startswith("#")} == {"openapi.json"}
    assert {item[1:] for item in links.references if item.startswith("#")} <= links.ids
    names = {item["operationId"] for methods in server.document["paths"].values() for item in methods.values()}
    assert names | set(server.document["components"]["schemas"]) <= links.ids
    assert "url(" not in page
    assert "@import" not in page


def test_the_documentation_is_for_everybody(server: Server) -> None:
    """Neither the document nor the page asks for a token; a wrong one makes no difference."""
    for path in ("/api/openapi.json", "/api/docs"):
        answers = []
        for headers in ({}, {"Authorization": "Bearer pri_wrong"}, {"Authorization": f"Bearer {create_secret()}"}):
            request = urllib.request.Request(server.url + path, headers=headers)
            with urllib.request.urlopen(request, timeout=10) as response:
                answers.append(response.read())
        assert len(set(answers)) == 1
