"""What operators do with a whole registry: back it up, check it, move it, prune it, import from another one."""
