"""Numbers of configurations: within bounds, and numbers."""

import math

import pytest

from sas_jax.distill.config import TrainConfig
from sas_jax.errors import InputError
from sas_jax.fusion.fuse import FuseConfig


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 0.0, -1.0])
@pytest.mark.parametrize("config", ["voxel_size_m", "learning_rate", "tau"])
def test_no_size_and_no_rate_is_infinite(config, value):
    kind = FuseConfig if config == "tau" else TrainConfig
    with pytest.raises(InputError, match=f"{config} > 0 is required, got {value}"):
        kind(**{config: value})
