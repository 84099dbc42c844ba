"""Published models that papers name as teachers, and the files that each is made of.

What a teacher of this package is stands in `registry`; this table says what to look for
where a flagfile names one whose reader or weights are absent.
"""

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

FILES: dict[str, tuple[str, ...]] = {
    "lseg": ("demo_e200.ckpt (LSeg, ViT-L/16)", "CLIP ViT-B/32 (text tower)"),
    "seem": (
        "seem_focall_v0.pt (SEEM, FocalNet-L)",
        "tap_vit_h_v1_1.pkl and merged_2560.pkl (Tokenize Anything, captions)",
        "CLIP ViT-B/32 (text tower)",
    ),
    "openseg": (
        "OpenSeg's exported saved model",
        "CLIP ViT-L/14@336px (text tower)",
    ),
    "odise": (
        "ODISE's published checkpoint",
        "tap_vit_h_v1_1.pkl and merged_2560.pkl (Tokenize Anything, captions)",
        "CLIP ViT-B/32 (text tower)",
    ),
}
"""Name -> files."""
