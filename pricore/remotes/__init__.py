"""How git may reach a host: what it logs in with, the keys of hosts, and the guard against inside addresses."""
