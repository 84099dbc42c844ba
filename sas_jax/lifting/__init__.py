"""From pixels of several frames to features of points, in the shared text space."""
