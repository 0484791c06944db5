"""Git hosts: their addresses, their APIs, their pages."""
