"""How git may reach a host: logins, keys of hosts, the guard against inside addresses; and why it failed."""
