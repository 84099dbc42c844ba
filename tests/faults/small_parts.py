"""What takes long in a stage, small: models that know nothing, a network of one layer.

Files, keys, claims and checkpoints are those of the real ones.
"""

import dataclasses

from second_teacher import SPACE, ColourTeacher


class GreyTeacher(ColourTeacher):
    """A second `DenseTeacher` in the space of the first one."""

    spec = dataclasses.replace(ColourTeacher.spec, name="greys")

    def features(self, images):
        greys = [image.mean(axis=2, keepdims=True).repeat(3, 2) for image in images]
        return super().features([grey.astype("uint8") for grey in greys])


def load_greys(options):
    return GreyTeacher()


def put_in():
    """Put these into the tables, before any script is imported."""
    from sas_jax.capability import registry as capability
    from sas_jax.teachers import registry as teachers
    from sas_jax.text import registry as towers

    teachers.ENTRIES["colours"] = teachers.Entry("dense", "second_teacher:load", ())
    teachers.ENTRIES["greys"] = teachers.Entry(
        "dense", "faults.small_parts:load_greys", ()
    )
    towers.TOWERS[SPACE.name] = "second_teacher:load_tower"
    capability.SYNTHESIZERS["discs"] = "second_synthesizer:load"


def shrink_network():
    """Let the student be the stem of a U-Net and its last layer."""
    from sas_jax.models import minkunet
    from sas_jax.models.layers import MaskedBatchNorm, SparseConv

    def stem_only(plan, features, sizes, *, train, impl=None, sync_axis=None):
        layer = SparseConv(8, sizes.stem_kernel, impl, name="conv0p1s1")
        x = layer(features, plan.within(0, sizes.stem_kernel))
        norm = MaskedBatchNorm(axis_name=sync_axis, impl=impl, name="bn0")
        return [norm(x, plan.levels[0].num_valid, train=train, rectify=True)]

    minkunet.unet_stages = stem_only
