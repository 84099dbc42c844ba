"""Superpoints: connected pieces of a surface over which normals change little."""
