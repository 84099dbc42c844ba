"""Annotation-free model capability: how well each teacher knows each class.

A text-to-image diffusion model paints images of a class; its cross-attention says
where the class is; a point prompter sharpens that to a pseudo mask; the overlap of a
teacher's mask with it is the teacher's capability. (SAS section 3.2; PyTorch.)
"""

VERSION = 2
"""Raised when numbers of the package change; see `artefacts.versions`."""
