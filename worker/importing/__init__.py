"""Users who come from another system, with the hashes of their passwords."""
