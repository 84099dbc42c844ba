"""2-D models that know names: contracts, registry, alignment via text, extraction.

The only home of torch, together with `sas_jax.capability`. Names, contracts and the
registry import without it; a model's own module imports it when the model is loaded.
"""
