"""The way from a Python call into a program: checks, results, cells of shared variables."""
