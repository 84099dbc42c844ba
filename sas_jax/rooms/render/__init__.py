"""Colour, depth and labels of what a camera in a room sees."""
