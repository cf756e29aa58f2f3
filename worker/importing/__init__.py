"""Importing users of another system, with their password hashes."""
