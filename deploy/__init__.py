"""Tools for operators: secrets, certificates and the broker's users. No image contains this package."""
