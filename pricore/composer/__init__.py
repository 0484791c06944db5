"""Composer's rules: versions, metadata, and which versions a repository has. Pure."""
