"""How a repository gets from its Git host into the database: the queue, one sync and its progress."""
