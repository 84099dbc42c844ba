"""Files of Gaussians: a format is a module and a line in `formats`."""
