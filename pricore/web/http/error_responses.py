"""Where errors become HTTP: `{"message", "errors"?}` with the status that fits, and the id of the request."""

import logging
import re
from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError, InvalidURLError

from pricore.errors import (
    BadRequestError,
    BusyError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    NotReadyError,
    PricoreError,
    TooManyRequestsError,
    UnauthorizedError,
    UnsupportedClientError,
)
from pricore.web.http.access_log import REQUEST_ID, AccessLog

_log = logging.getLogger("pricore.server")

_STATUS: Final[Mapping[type[PricoreError], int]] = {
    BadRequestError: 400,
    UnsupportedClientError: 400,
    UnauthorizedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    InvalidError: 422,
    TooManyRequestsError: 429,
    BusyError: 503,
    NotReadyError: 503,
}
_MESSAGES: Final[Mapping[int, str]] = {
    404: "there is nothing at this address",
    413: "the request body is too large",
    416: "the archive ends before the range that was asked for",
    417: "the Expect header can only be 100-continue",
}
_COMPOSERS: Final = re.compile(r"^(?:(?!/api/).)*?/org/")
"""Addresses that Composer asks, also below the path of a public URL."""

_TOLD: Final = (hdrs.ALLOW, hdrs.CONTENT_RANGE)
"""Headers of aiohttp's errors that say more than the status."""
_MOST_MESSAGE: Final = 1000
_NEVER_KEPT: Final[Mapping[str, str]] = {hdrs.CACHE_CONTROL: "no-store", hdrs.VARY: "Authorization"}
"""What is missing for one token, or now, is there for another, or in a moment: no cache may keep it."""


def translate_error(request: web.BaseRequest, error: Exception, access_log: AccessLog) -> web.Response:
    """The response to an error; it has the id of the request."""
    response = _explain(request, error, access_log)
    response.headers[REQUEST_ID] = access_log.identify(request)
    return response


def _explain(request: web.BaseRequest, error: Exception, access_log: AccessLog) -> web.Response:
    if isinstance(error, PricoreError):
        status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)
        if status != 500:
            errors = {error.field: [str(error)]} if isinstance(error, InvalidError) else None
            retry = None
            if isinstance(error, TooManyRequestsError | BusyError):
                retry = {"Retry-After": str(error.retry_after)}
            return error_response(request, status, str(error), errors=errors, headers=retry)
    elif isinstance(error, web.HTTPException):
        if error.status < 400:
            raise error
        told = {str(name): error.headers[name] for name in _TOLD if name in error.headers}
        message = _MESSAGES.get(error.status, error.reason)
        if isinstance(error, web.HTTPMethodNotAllowed):
            methods = " or ".join(sorted(error.allowed_methods))
            message = f"this address does not take {error.method}: use {methods}"
        return error_response(request, error.status, message, headers=told)
    elif isinstance(error, web.RequestPayloadError):
        return error_response(request, 400, "the request body is damaged")
    elif isinstance(error, ConnectionError) and request.transport is None:
        raise error  # the client went away in the middle of its body
    return failure_response(request, error, access_log)


def failure_response(request: web.BaseRequest, error: BaseException | None, access_log: AccessLog) -> web.Response:
    """500 for what failed on this side, with the id under which the log has the reason.

    Only the log has it: it can name folders of this machine, and hosts that only this one reaches.
    """
    request_id = access_log.identify(request)
    # the path as it came: decoded, it could end the line and go on with one of its own
    target = f"{request.method} {request.rel_url.raw_path}"
    reason = f"{type(error).__name__}: {error}"
    _log.error(
        "request %s: %s: %s",
        request_id,
        target,
        reason,
        exc_info=None if isinstance(error, PricoreError) else error,
        extra={"request": request_id},
    )
    return error_response(request, 500, f"the registry failed; its log has the reason under request {request_id}")


async def reject_unknown(request: web.Request) -> web.StreamResponse:
    """What no route takes: 405 where another method would be taken there, else 404."""
    allowed: set[str] = set()
    for place in request.app.router.resources():
        _, methods = await place.resolve(request)
        allowed |= methods
    allowed.discard(hdrs.METH_ANY)
    if allowed:
        raise web.HTTPMethodNotAllowed(request.method, allowed)
    raise web.HTTPNotFound


def _one_line(text: str) -> str:
    """A message that can be shown and logged as it is, whatever of the request is repeated in it."""
    shown = text if len(text) <= _MOST_MESSAGE else text[:_MOST_MESSAGE] + "…"
    return "".join(character if character.isprintable() else "?" for character in shown)


def error_response(
    request: web.BaseRequest,
    status: int,
    message: str,
    *,
    errors: Mapping[str, list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """An error in the shape that all of them have; `errors` are messages by field."""
    message = _one_line(message)
    body: dict[str, object] = {"message": message}
    if errors:
        body["errors"] = {name: [_one_line(text) for text in texts] for name, texts in errors.items()}
    if _COMPOSERS.search(request.path) and status in (400, 401, 403, 429):
        body["warning"] = message  # Composer prints this one to the person who runs it
    response = web.Response(
        status=status,
        body=msgspec.json.encode(body),
        content_type="application/json",
        headers={**_NEVER_KEPT, **(headers or {})},
    )
    if status == 401:
        response.headers[hdrs.WWW_AUTHENTICATE] = 'Basic realm="Pricore", charset="UTF-8"'
    return response


def unreadable(error: HttpProcessingError) -> str:
    """Why a request cannot be read, in aiohttp's words without what they quote of it."""
    if isinstance(error, InvalidURLError):
        return "the request cannot be read: its address is malformed"
    words, *_ = re.split(r":\s*\n|: b['\"]|: bytearray", error.message)
    return f"the request cannot be read: {words}"
