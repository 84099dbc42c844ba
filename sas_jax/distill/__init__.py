"""Distillation: batches, losses, temporal ensembling, training (paper section 3.4)."""
