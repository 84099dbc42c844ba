"""SEEM with a focal backbone, version 0: panoptic and semantic segmentation by names.

The network of Zou et al., "Segment Everything Everywhere All at Once" (arXiv
2304.06718), of which prompts by points, strokes, images and sound are left out:
`backbone` (FocalNet), `pixel_decoder`, `mask_decoder` and `text` make the `network`,
`convert` reads the published files, `panoptic` turns queries into masks, `vocabulary`
holds names, and `teacher` is the adapter.
"""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
