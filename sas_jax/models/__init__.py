"""Student networks in flax.linen and the porting of their checkpoints."""
