"""The benchmark: measures the service, and for comparison the floor that the machine sets."""
