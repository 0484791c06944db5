"""Measurements of Pricore beside what it is compared with, in pairs, in one run: `python -m bench --help`."""
