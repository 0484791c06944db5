"""What is stored: one database, and the queries of each subject in a part of its own."""

from pathlib import Path

from pricore.engine.database import Database
from pricore.tables.archives import Archives
from pricore.tables.credentials import Credentials
from pricore.tables.documents import Documents
from pricore.tables.health import Health
from pricore.tables.jobs import Jobs
from pricore.tables.locks import Locks
from pricore.tables.organizations import Organizations
from pricore.tables.packages import Packages
from pricore.tables.pins import Pins
from pricore.tables.publishing import Publications
from pricore.tables.rebuilding import Rebuilding
from pricore.tables.repositories import Repositories
from pricore.tables.runs import Runs
from pricore.tables.schedule import Schedule
from pricore.tables.tokens import Tokens
from pricore.tables.usage import Usage
from pricore.tables.views import Views


class Store(Database):
    """An open database with its parts; use it as an async context manager.

    `sync_interval` is the instance's, for when to look at repositories again; 0 is never.
    """

    def __init__(self, path: Path, *, sync_interval: int = 0) -> None:
        super().__init__(path)
        self.schedule = Schedule(self, interval=sync_interval)
        self.organizations = Organizations(self, self.schedule)
        self.repositories = Repositories(self, self.schedule)
        self.credentials = Credentials(self)
        self.runs = Runs(self, self.schedule)
        self.packages = Packages(self)
        self.publications = Publications(self)
        self.documents = Documents(self)
        self.tokens = Tokens(self)
        self.views = Views(self)
        self.jobs = Jobs(self)
        self.usage = Usage(self)
        self.locks = Locks(self)
        self.health = Health(self)
        self.archives = Archives(self)
        self.pins = Pins(self)
        self.rebuilding = Rebuilding(self)
