"""What stages leave on disk: files, locks, features."""
