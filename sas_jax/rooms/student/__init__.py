"""The student that learned from 160 rooms; see `models.shipped`."""
