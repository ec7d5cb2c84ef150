"""Layers: small objects that hold named shared variables; calling one builds graph."""
