"""Every teacher that runs offline, tiny where the real one is large."""

import zlib

import numpy as np
import torch

from sas_jax.artefacts.space import TextSpace
from sas_jax.registry import LoadOptions
from sas_jax.teachers import registry
from sas_jax.teachers.checkpoint import built
from sas_jax.teachers.clip_text import TorchClipText
from sas_jax.teachers.imagenet import network as imagenet_network
from sas_jax.teachers.imagenet import teacher as imagenet_teacher
from sas_jax.teachers.imagenet.evidence import ViewConfig
from sas_jax.teachers.lseg import network as lseg_network
from sas_jax.teachers.lseg import teacher as lseg_teacher
from sas_jax.teachers.lseg.config import LSegConfig
from sas_jax.teachers.seem import architecture as seem_architecture
from sas_jax.teachers.seem.config import SeemConfig
from sas_jax.teachers.seem.network import untrained
from sas_jax.teachers.seem.teacher import SeemTeacher
from sas_jax.text import clip_weights

LSEG = lseg_network.Architecture(
    width=64,
    hidden=128,
    depth=4,
    heads=1,
    taps=(0, 1, 2, 3),
    reassembled=(8, 16, 16, 16),
    decoder=16,
    features=512,
    grid=6,
)
LSEG_TOWER = clip_weights.Size(dim=512, width=64, layers=1, heads=1)
LSEG_CONFIG = LSegConfig(base_size=96, crop_size=64)
IMAGENET = imagenet_network.Architecture(width=0.25, depth=1.0)
IMAGENET_VIEWS = ViewConfig(
    sides_px=(33, 48), step_px=(16, 33), crop_px=33, grid=6, batch=2
)
IMAGENET_CONFIG = imagenet_teacher.ImageNetConfig(IMAGENET_VIEWS, least=1e-4, doubt=0.1)

END = 63
SEEM = seem_architecture.Architecture(
    embed_dim=16,
    depths=(1, 1, 1, 1),
    focal_levels=(2, 2, 2, 2),
    pixel_dim=32,
    mask_dim=24,
    encoder_layers=1,
    hidden_dim=64,
    heads=4,
    ffn_dim=48,
    decoder_layers=4,
    queries=12,
    space_dim=16,
    text_dim=32,
    text_layers=1,
    text_heads=4,
    text_context=20,
    text_vocabulary=END + 1,
)


class Shared:
    """A text tower whose vectors do not matter."""

    space = TextSpace("letters", "random:0", 8)

    def encode(self, texts):
        return np.full((len(texts), 8), 8**-0.5, np.float32)

    def to(self, device):
        self.device = device

    def close(self):
        """There are no weights."""


def tokenize(texts):
    """Return a token per word, then the end, then zeros."""
    out = np.zeros((len(texts), SEEM.text_context), np.int64)
    for row, text in zip(out, texts, strict=True):
        words = [1 + zlib.crc32(word.encode()) % (END - 1) for word in text.split()]
        row[: len(words)] = words
        row[len(words)] = END
    return out


def seem(seed=2, sure=True, **settings):
    network = untrained(seed, SEEM)
    if not sure:
        torch.nn.init.constant_(network.logit_scale, -5.0)
    return SeemTeacher(
        network,
        Shared(),
        f"random:{seed}",
        config=SeemConfig(short_side=64, **settings),
        tokenize=tokenize,
        sentences=("{}.", "a photo of a {}."),
    )


class Letters:
    """A text tower that knows letters, in the classes' small space."""

    def __init__(self, dim):
        self.rows = np.random.default_rng(0).normal(size=(128, dim))
        self.space = TextSpace("letters", "0" * 64, dim)

    def encode(self, texts):
        sums = [self.rows[[ord(c) % 128 for c in text]].sum(0) for text in texts]
        return np.array(sums, np.float32)

    def to(self, device):
        return self

    def close(self):
        """There are no weights."""


def odise():
    """Return the teacher without training; diffusers must be there."""
    import tiny_odise

    from sas_jax.teachers.odise.config import OdiseSettings
    from sas_jax.teachers.odise.teacher import OdiseTeacher

    settings = OdiseSettings(short_side=70, long_side=150)
    classes = Letters(tiny_odise.CONFIG.clip_dim)
    network = tiny_odise.network()
    return OdiseTeacher(network, classes, Letters(8), "random:0", settings)


def lseg():
    """Return the teacher without training."""
    network = built(lambda: lseg_network.LSegNet(LSEG), 0)
    tower = clip_weights.random_tower(LSEG_TOWER, 0)
    text = TorchClipText(TextSpace("letters", "random:0", LSEG_TOWER.dim), tower)
    return lseg_teacher.LSeg(network, text, "random:0", LSEG_CONFIG)


def imagenet():
    """Return the teacher without training; its package's text tower must be there."""
    network = built(lambda: imagenet_network.EfficientNetLite(IMAGENET), 0)
    # As it is initialised, nothing reaches the classifier.
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm in network.train().modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.momentum = 1.0
        network(torch.randn(8, 3, 65, 65, generator=random))
        network.eval().classifier.weight.normal_(std=0.2, generator=random)
    made = imagenet_teacher.ImageNet(network, "random:0", IMAGENET_CONFIG)
    # Without training every class speaks up, and a thousand names take half a minute.
    rows = np.random.default_rng(0).normal(size=(1000, 384)).astype(np.float32)
    made._rows = dict(enumerate(rows / np.linalg.norm(rows, axis=1, keepdims=True)))
    return made


def _small(name):
    return lambda: registry.load(name, LoadOptions("random:3"))


TEACHERS = {
    "rooms-dense": _small("rooms-dense"),
    "rooms-mask": _small("rooms-mask"),
    "lseg": lseg,
    "imagenet": imagenet,
    "seem": seem,
    "odise": odise,
}
"""Name -> a function that makes one. OpenSeg is a process of its own."""


def said(teacher, images):
    """Return what a dense or mask teacher says of images, as arrays to compare."""
    if teacher.spec.contract == "dense":
        return teacher.features(images)
    found = teacher.segment(images)
    return [np.stack([one.ids, one.label_map]) for one in found]
