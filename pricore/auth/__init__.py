"""Who may do what: access tokens and their limits, and secrets for Git hosts."""
