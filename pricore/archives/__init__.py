"""Archives: making, keeping, compressing and checking them, and those that are uploaded."""
