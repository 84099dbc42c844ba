"""Vocabularies, prompts and text towers: words to unit vectors.

`minilm` and `clip` are the towers in JAX, `minilm_files` and `clip_files` what they are
made of. What is not a tower needs only numpy, so that PyTorch's half can share it.
"""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
