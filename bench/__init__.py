"""The benchmark: what the service does on this machine, beside what the machine itself can do."""
