"""What operations share: ports, records, and the rules about sessions, passwords and tokens."""
