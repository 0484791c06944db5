"""Bare mirrors of Git repositories, and what is read out of them."""
