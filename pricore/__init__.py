"""A private Composer package registry."""
