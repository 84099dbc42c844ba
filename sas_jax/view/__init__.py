"""Pictures, coloured point clouds and the HTML report (numpy only)."""
