"""What a scene is and how scenes are read: one module per layout on disk."""
