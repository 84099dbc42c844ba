"""Students before training."""

from sas_jax.models.init import init_network
from sas_jax.models.minkunet import MinkUNet


def init_student(config, seed):
    """Return {"params": ..., "batch_stats": ...} of a student."""
    init, spec = MinkUNet(config).init, config.plan_spec
    return init_network(init, config.in_channels, seed, spec)
