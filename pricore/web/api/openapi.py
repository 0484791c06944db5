"""The OpenAPI document: made of the table of routes and the types that serve, so that it says what is so."""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final, get_origin

import msgspec

from pricore.services.views import Id, LockName, ProviderName
from pricore.web.api.routing import Data, Operation, Page
from pricore.web.api.streams import EVENTS, Events
from pricore.web.http.bodies import Zip

Document = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"


class Error(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was wrong, and where an argument was not understood, by its name, what about it."""

    message: str
    errors: dict[str, list[str]] = {}


_INTRODUCTION: Final = """\
What an operator or a script can do with the registry. Times are RFC 3339 in UTC, ids are UUIDs.

An access token goes into `Authorization: Bearer`, or into HTTP Basic as the password of any user. It is of one
organization, or of the instance; what it may not see is answered as what is not there."""

_EVENTS: Final = """\
Server-sent events: `progress` with the present state at once and with each change, at most five a second, then \
`end` with what came of it. The data of each is the whole document, as it is answered without `/events`. A stream \
that ends without `end` was cut off: ask again."""

_PARAMETERS: Final[Mapping[str, tuple[Any, str]]] = {
    "slug": (str, "The organization's name in URLs."),
    "package": (str, "The package's id or name; the slash in it as it is or as %2F."),
    "version": (str, "The version as it is shown, or any form that means the same."),
    "id": (Id, "The id."),
    "name": (LockName, "The name under which the lock file is registered."),
    "run": (Id, "The id of the sync."),
    "provider": (ProviderName, "What kind of host sends it; `git` is any."),
}

_ERRORS: Final[Mapping[int, str]] = {
    400: "The request cannot be read.",
    401: "There is no good access token with it.",
    403: "The access token may not do this; the message names the scope that it lacks.",
    404: "It is not there, or not for this access token.",
    409: "Something of that name, address or version is there already, or a registered lock file is in the way.",
    413: "The request body is too large.",
    422: "An argument cannot be understood.",
    429: "A rate limit is used up.",
    500: "The registry failed; its log says why.",
    503: "Archives have to be made first, which takes a while: try again, and it goes on from there.",
}

_HEADERS: Final[Document] = {
    "X-RateLimit-Limit": {"description": "Requests a minute.", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "How many are left.", "schema": {"type": "integer", "minimum": 0}},
    "X-RateLimit-Reset": {
        "description": "When the minute is over, seconds since 1970.",
        "schema": {"type": "integer"},
    },
    "Retry-After": {"description": "Seconds until a request is taken again.", "schema": {"type": "integer"}},
    "Link": {"description": "Where the neighbours of a page are (RFC 8288).", "schema": {"type": "string"}},
    "X-Request-Id": {"description": "What the log has the failure under.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}},
}
_RATE_LIMIT: Final = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_HEADERS_OF: Final[Mapping[int, Sequence[str]]] = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    500: ("X-Request-Id",),
    503: ("Retry-After",),
}


def build_document(operations: Iterable[Operation], *, url: str | None = None) -> Document:
    """The OpenAPI 3.1 document of some operations, which are below a `url`; None is where the document is."""
    operations = list(operations)
    schemas = _Schemas([Error])
    paths: dict[str, Document] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    subjects = {operation.subject.__name__: operation.subject for operation in operations}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pricore", "version": version("pricore"), "description": _INTRODUCTION},
        **({} if url is None else {"servers": [{"url": url}]}),
        "tags": [{"name": _tag(item.__name__), "description": item.__doc__} for item in subjects.values()],
        "paths": paths,
        "components": {
            "schemas": schemas.components(),
            "responses": {str(status): _error(status) for status in _ERRORS},
            "headers": _HEADERS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
        "security": [{"bearer": []}, {"basic": []}],
    }


class _Schemas:
    """The types that a document names, each once."""

    def __init__(self, types: list[Any]) -> None:
        self._types = types

    def of(self, kind: Any) -> Document:
        """The schema of a type; records are references, and stand among the components."""
        if get_origin(kind) in (Data, Events):
            (content,) = kind.__args__
            document = {"type": "object", "properties": {"data": self.of(content)}, "required": ["data"]}
            return document if get_origin(kind) is Data else _event(document)
        if get_origin(kind) is Page:
            (item,) = kind.__args__
            data = {"type": "array", "items": self.of(item)}
            fields = {"data": data, "meta": self.of(kind.__origin__.__annotations__["meta"])}
            return {"type": "object", "properties": fields, "required": list(fields)}
        self._types.append(kind)
        (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
        return schema

    def components(self) -> Document:
        _, found = msgspec.json.schema_components(self._types, ref_template=_REF)
        return {name: _cleaned(schema) for name, schema in sorted(found.items())}


def _operation(operation: Operation, schemas: _Schemas) -> Document:
    document: Document = {
        "operationId": operation.name,
        "tags": [_tag(operation.subject.__name__)],
        "summary": operation.summary,
        "responses": {str(operation.status): _response(operation, schemas)}
        | {str(status): {"$ref": f"#/components/responses/{status}"} for status in _statuses(operation)},
    }
    about = [] if operation.scope is None else [f"Needs the scope `{operation.scope}`."]
    if operation.query is not None:
        about.append(_read(operation.query.__doc__))
    if get_origin(operation.response) is Events:
        about.append(_EVENTS)
    if about:
        document["description"] = " ".join(about)
    if operation.public:
        document["security"] = []
    if parameters := [*_in_path(operation.path), *_in_query(operation.query)]:
        document["parameters"] = parameters
    if operation.body is not None:
        if operation.body is Zip:
            content = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}
        else:
            content = {"application/json": {"schema": schemas.of(operation.body)}}
        document["requestBody"] = {"required": True, "content": content}
    return document


def _response(operation: Operation, schemas: _Schemas) -> Document:
    headers = () if operation.public else _RATE_LIMIT
    if get_origin(operation.response) is Page:
        headers = ("Link", *headers)
    kind = "text/event-stream" if get_origin(operation.response) is Events else "application/json"
    return {
        "description": "Created" if operation.status == 201 else "Done",
        "headers": _header_references(headers),
        "content": {kind: {"schema": schemas.of(operation.response)}},
    }


def _event(document: Document) -> Document:
    """The schema of one event with a document."""
    fields = {
        "event": {"type": "string", "enum": list(EVENTS)},
        "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": document},
    }
    return {"type": "object", "properties": fields, "required": list(fields)}


def _error(status: int) -> Document:
    return {
        "description": _ERRORS[status],
        "headers": _header_references((*_HEADERS_OF.get(status, ()), *_RATE_LIMIT)),
        "content": {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}},
    }


def _header_references(names: Iterable[str]) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _statuses(operation: Operation) -> list[int]:
    """The statuses of errors that an operation can answer with."""
    found = {*operation.errors, 400, 429, 500}
    if not operation.public:
        found |= {401}
    if operation.scope is not None:
        found |= {403}
    if "{" in operation.path:
        found |= {404}
    if operation.query is not None:
        found |= {422}
    if operation.body is not None:
        found |= {413, 422}
    return sorted(found)


def _in_path(path: str) -> list[Document]:
    found = []
    for name in re.findall(r"\{(\w+)\}", path):
        kind, meaning = _PARAMETERS[name]
        found.append(
            {"name": name, "in": "path", "required": True, "description": meaning, "schema": _plain(kind)}
        )
    return found


def _in_query(query: type[msgspec.Struct] | None) -> list[Document]:
    if query is None:
        return []
    schema = _plain(query)
    return [
        {"name": name, "in": "query", "required": name in schema["required"], "schema": _without_null(item)}
        for name, item in schema["properties"].items()
    ]


def _without_null(schema: Document) -> Document:
    """The schema of what a query can hold: a parameter is text, or isn't there."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    return choices[0] if len(choices) == 1 else schema


def _plain(kind: Any) -> Document:
    """The schema of a type that stands where it is used."""
    (schema,), found = msgspec.json.schema_components([kind])
    return _cleaned(next(iter(found.values()), schema))


def _cleaned(schema: Document) -> Document:
    """A schema of a record with its docstring as it is read."""
    if "description" in schema:
        schema = schema | {"description": _read(schema["description"])}
    return schema


def _read(docstring: str | None) -> str:
    """A docstring as it is read, on one line."""
    return " ".join(inspect.cleandoc(docstring or "").split())


def _tag(module: str) -> str:
    return module.rpartition(".")[2].capitalize()
