"""Security advisories, as `composer audit` asks for them."""

from typing import Final
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from pricore.errors import BadRequestError
from pricore.web.composer.organizations import Organizations, json_response
from pricore.web.http.bodies import read_body

_MOST_NAMES: Final = 10_000


class Advisories:
    """The advisories for packages of an organization."""

    def __init__(self, organizations: Organizations) -> None:
        self._organizations = organizations

    async def get_advisories(self, request: web.Request) -> web.Response:
        """Known advisories for the packages asked for: nobody has told this registry of any."""
        visit = await self._organizations.admit(request)
        pairs = list(request.query.items())
        if request.method == hdrs.METH_POST:
            body = await read_body(request)
            try:
                pairs += parse_qsl(body.decode(errors="replace"), max_num_fields=_MOST_NAMES)
            except ValueError:
                raise BadRequestError(f"more than {_MOST_NAMES} packages at a time") from None
        asked = {value.lower() for key, value in pairs if key.startswith("packages[")}
        names = sorted(asked.intersection(await self._organizations.names(visit)))
        return json_response({"advisories": {name: [] for name in names}})
