"""What Composer asks for: packages.json, p2 documents, and the small endpoints beside them.

A request is authentication and bytes. Documents are finished in the encodings that were asked for, and cached.
"""

from aiohttp import web

from pricore.services.opening import Services
from pricore.web.composer.advisories import Advisories
from pricore.web.composer.installs import Installs
from pricore.web.composer.metadata import Metadata
from pricore.web.composer.organizations import Organizations
from pricore.web.composer.search import Search
from pricore.web.http.admission import Admission
from pricore.web.http.client_address import ClientAddresses
from pricore.web.http.response_cache import ResponseCache


def routes(
    services: Services, admission: Admission, clients: ClientAddresses, cache: ResponseCache
) -> list[web.RouteDef]:
    """The routes below /org/{organization}, but for archives."""
    store = services.store
    organizations = Organizations(store, admission, clients, public_url=services.config.public_url)
    metadata = Metadata(store, organizations, cache, public_url=services.config.public_url)
    search = Search(store, organizations, cache)
    advisories = Advisories(organizations)
    installs = Installs(store, organizations)
    org = "/org/{organization}"
    return [
        web.get(org + "/p2/{vendor}/{package}.json", metadata.get_package),
        web.get(org + "/packages.json", metadata.get_root),
        web.get(org + "/list.json", search.get_list),
        web.get(org + "/search.json", search.search),
        web.get(org + "/providers/{vendor}/{package}.json", search.get_providers),
        web.get(org + "/security-advisories", advisories.get_advisories),
        web.post(org + "/security-advisories", advisories.get_advisories),
        web.post(org + "/downloads", installs.count_installs),
    ]
