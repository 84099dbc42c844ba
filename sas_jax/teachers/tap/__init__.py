"""Tokenize Anything (TAP): a sentence for the thing at a point of an image.

An image encoder of windowed attention, a decoder that answers point prompts with four
candidate masks and a semantic token each, and a small language model that speaks the
token of the best one. Names of modules are those of the published checkpoint.

Source: Pan et al., Tokenize Anything via Prompting (arXiv 2312.09128).
"""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
