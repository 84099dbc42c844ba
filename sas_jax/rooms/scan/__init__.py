"""Scans of rooms: camera paths, sensor, fused mesh, files in ScanNet's layout."""
