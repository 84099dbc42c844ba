"""Vocabularies, prompts and text towers: words to unit vectors.

`prompts` and `minilm_files` need only numpy; `minilm` is the tower in JAX.
"""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
