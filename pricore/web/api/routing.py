"""How a typed route is served: token, scope, query and body in; a record with its status out."""

import functools
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Annotated, Any, Final, Generic, TypeVar, get_type_hints

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from yarl import URL

from pricore.auth import access_tokens
from pricore.auth.rate_limits import Allowance
from pricore.errors import BadRequestError, ConflictError, InvalidError, NotFoundError
from pricore.rights.tokens import Token
from pricore.system.threads import DOCUMENTS
from pricore.web.api.streams import Events, Streams
from pricore.web.http.admission import Access, Admission, allowance_of
from pricore.web.http.bodies import MEGABYTE, Zip, read_body

T = TypeVar("T")


class Call(msgspec.Struct, frozen=True):
    """One request, understood. `path` holds the parts of the path by name; `query` and `body` are of the
    types that the route names. `allowance` is what the rate limit leaves to the caller, None without one, and
    `address` where it comes from."""

    token: Token
    path: Mapping[str, str]
    query: Any = None
    body: Any = None
    allowance: Allowance | None = None
    address: str = ""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What can be done at an address, as it is documented.

    `subject` is the module that it belongs to. `response` is the type of what comes back, with `status`. `errors`
    are statuses that the rest doesn't tell. `public` needs no token.
    """

    method: str
    path: str
    name: str
    summary: str
    subject: ModuleType
    response: Any
    status: int = 200
    scope: str | None = None
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | type[Zip] | None = None
    errors: tuple[int, ...] = ()
    public: bool = False


class Route(msgspec.Struct, frozen=True):
    """A route as it is served and documented.

    `scope` None asks for any good token. A path with `{slug}` is of an organization: other organizations'
    tokens find nothing there. `errors` are statuses that the rest doesn't tell, `most_bytes` those of a body.
    """

    method: str
    path: str
    handler: Callable[[Call], Awaitable[msgspec.Struct]]
    scope: str | None
    summary: str
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | type[Zip] | None = None
    status: int = 200
    errors: tuple[int, ...] = ()
    most_bytes: int = MEGABYTE

    @property
    def pattern(self) -> str:
        """The path without what its parts have to match."""
        return re.sub(r":[^{}]*\}", "}", self.path)

    def describe(self) -> Operation:
        """The route as it is documented; the type of its response is the one that its handler says."""
        return Operation(
            method=self.method,
            path=self.pattern,
            name=self.handler.__name__,
            summary=self.summary,
            subject=sys.modules[self.handler.__module__],
            response=get_type_hints(self.handler)["return"],
            status=self.status,
            scope=self.scope,
            query=self.query,
            body=self.body,
            errors=self.errors,
        )


class Data(msgspec.Struct, Generic[T], frozen=True):
    """What was asked for."""

    data: T


class Message(msgspec.Struct, frozen=True):
    """What was done."""

    message: str


class Meta(msgspec.Struct, frozen=True):
    """Where in a list a page is; pages are counted from 1."""

    current_page: int
    last_page: int
    per_page: int
    total: int


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list."""

    data: list[T]
    meta: Meta


class PageQuery(msgspec.Struct, frozen=True):
    """Which part of a list is wanted."""

    page: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.per_page

    def meta(self, total: int) -> Meta:
        return Meta(self.page, max(1, -(-total // self.per_page)), self.per_page, total)


_SEES_ALL: Final = frozenset({"packages:read", "repositories:read"})
"""The scopes of who may read the addresses of repositories, and the names of lock files."""
_LARGE: Final = 256 * 1024
_MOST_SHOWN: Final = 200
"""Characters of an error: the name of an unknown field can be a megabyte."""


def serve(route: Route, admission: Admission, streams: Streams, *, public_url: str = "") -> Handler:
    """The handler of aiohttp's that serves a route to clients that come to `public_url`; empty is anywhere."""

    async def handle(request: web.Request) -> web.StreamResponse:
        path = dict(request.match_info)
        access = Access(path.get("slug"), route.scope)
        token = await admission.admit(request, access)
        query = None if route.query is None else _read_query(request, route.query)
        body: Any = None
        if route.body is Zip:
            body = Zip(request, most=route.most_bytes)
        elif route.body is not None:
            content = await read_body(request, most=route.most_bytes)
            # a large one takes long enough for others to wait
            large = len(content) > _LARGE
            parse = functools.partial(_read_body, content, route.body)
            body = await DOCUMENTS.run(parse) if large else parse()
        call = Call(token, path, query, body, allowance_of(request), admission.address(request))
        try:
            result = await route.handler(call)
        except NotFoundError:
            # in the same words whether it is not there or hidden, and without what those below know of it
            raise NotFoundError(access_tokens.NOT_HERE) from None
        except ConflictError as error:
            if error.public is None or (not _is_restricted(token, path) and _SEES_ALL.issubset(token.scopes)):
                raise
            raise ConflictError(error.public) from None
        if isinstance(result, Events):
            readmit = functools.partial(admission.readmit, request, access)
            return await streams.send(request, token, result, readmit=readmit)
        response = web.Response(
            status=route.status,
            body=msgspec.json.encode(result),
            content_type="application/json",
            headers={hdrs.CACHE_CONTROL: "private, no-store"},
        )
        if isinstance(result, Page):
            response.headers[hdrs.LINK] = _links(_public(request, route, public_url), result.meta)
        return response

    return handle


def _is_restricted(token: Token, path: Mapping[str, str]) -> bool:
    rights = token.rights(path["slug"]) if "slug" in path else None
    return rights.restricted if rights is not None else not token.instance


def _read_query(request: web.Request, kind: type[T]) -> T:
    try:
        return msgspec.convert(dict(request.query), kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


def _read_body(content: bytes, kind: type[T]) -> T:
    try:
        # in two steps: what is wrong in a body counts only where all of it can be read
        return msgspec.convert(msgspec.json.decode(content), kind)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequestError("the body is not valid JSON") from None


def _invalid(error: msgspec.ValidationError) -> InvalidError:
    """The error with the field that it is about; in a field of that field, it is about the outer one."""
    message, _, place = str(error).partition(" - at `$")
    named = re.search(r"field `(.*)`", message, re.DOTALL)
    field = place.strip("`.").split("[")[0].split(".")[0] or (named[1] if named else "") or "body"
    return InvalidError(message[:_MOST_SHOWN], field=field[:_MOST_SHOWN])


def _public(request: web.Request, route: Route, public_url: str) -> URL:
    """What a client has asked for, which may be below a path that this server is not asked with."""
    if not public_url:
        return request.rel_url
    asked, resource = request.rel_url.raw_path, request.match_info.route.resource
    if resource is not None and resource.canonical != route.pattern:
        asked = asked.removeprefix(URL(public_url).raw_path)  # the proxy left it there
    return URL(public_url + asked, encoded=True).with_query(request.rel_url.query)


def _links(asked: URL, meta: Meta) -> str:
    """RFC 8288: where the neighbours of a page are."""
    pages = {"first": 1, "prev": meta.current_page - 1, "next": meta.current_page + 1, "last": meta.last_page}
    return ", ".join(
        f'<{asked.update_query(page=page)}>; rel="{name}"'
        for name, page in pages.items()
        if 1 <= page <= meta.last_page
    )
