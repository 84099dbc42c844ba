"""Load the mask teacher of the rooms, with the text tower that its labels live in."""

from sas_jax.registry import LoadOptions
from sas_jax.rooms.teachers.mask import MASK_NET, RoomsMask
from sas_jax.rooms.teachers.nets import build
from sas_jax.teachers import towers
from sas_jax.text import minilm_files
from sas_jax.weights.find import seed_of


def load(options: LoadOptions) -> RoomsMask:
    """Load the teacher for the registry; the shipped weights unless told otherwise.

    Raises:
      WeightsMissing: when there is no such file, or no tower of the labels' space.
      InputError: for a space without a tower.
    """
    tower = None
    if options.label_space not in (None, minilm_files.SPACE.name):
        random = options.weights if seed_of(options.weights) is not None else None
        tower = towers.load(
            options.label_space, weights=random, download=options.download
        )
    return RoomsMask(*build(MASK_NET, options, "rooms_mask"), tower=tower)
