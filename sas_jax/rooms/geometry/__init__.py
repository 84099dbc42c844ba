"""Shapes: triangle meshes, how they are made, and rays cast at them."""
