"""The oracle's repositories: each has one kind of trap."""
