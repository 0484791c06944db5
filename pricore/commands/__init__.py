"""The command groups of the CLI. They have no rules of their own: they call what the HTTP handlers call."""
