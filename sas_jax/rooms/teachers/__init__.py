"""The two small 2-D models of the rooms and their training."""
