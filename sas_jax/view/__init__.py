"""Pictures, coloured point clouds and the HTML report of a finished run."""
