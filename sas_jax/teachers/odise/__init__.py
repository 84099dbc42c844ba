"""ODISE: masks from the inside of a diffusion model, classified by text.

Source: Xu et al., Open-Vocabulary Panoptic Segmentation with Text-to-Image Diffusion
  Models, CVPR 2023 (arXiv 2303.04803). Written from the paper and from published
  configurations. What they leave open is a choice of ours, listed in the card.

An image goes through `diffusion` (taps inside Stable Diffusion, conditioned by
`captioner`), `backbone` (windows, four feature maps), `masks` (queries with masks and
embeddings) and `classify` (names); `mask_clip` asks CLIP about every mask too.
"""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
