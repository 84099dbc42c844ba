"""2-D models that know names: contracts, registry, captioners.

The only home of torch, together with `sas_jax.capability` and the small models of
`sas_jax.rooms`. Names, contracts and the registry import without it; a model's own
module imports it when the model is loaded.
"""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
