"""Protocols that turn point features into labels, scores and heat maps.

The package is the verb, too: `sas_jax.evaluate(student, scenes)` is `api.evaluate`. An
import of one of its modules puts the package in the place of a function of its name.
"""

import importlib
import sys
import types

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""


class _Verb(types.ModuleType):
    """A package that can be called."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Score predictions on labelled scenes; see `sas_jax.api.evaluate`."""
        return importlib.import_module("sas_jax.api").evaluate(*args, **kwargs)


sys.modules[__name__].__class__ = _Verb
