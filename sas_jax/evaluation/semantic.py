"""Zero-shot semantic segmentation: the class whose text is nearest to the feature.

P points, C channels of the text space, K classes. One protocol serves 2-D features
of a teacher, fused features and student features alike.
"""

import numpy as np
from jaxtyping import Int

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextFeatures, one_space
from sas_jax.evaluation.confusion import NO_PREDICTION

_CHUNK = 65_536


def classify(features: Features, texts: TextFeatures) -> Int[np.ndarray, " P"]:
    """Return the index of the nearest text of every point, in chunks of rows.

    The features are not normalised: the argmax of a product with unit texts does not
    depend on a row's length.

    Args:
      features: of any level.
      texts: e.g. of the prompts "a XX in a scene" (section 3.5).

    Returns:
      int32 class indices, `NO_PREDICTION` (-1) for points without a feature.

    Raises:
      InputError: when the two live in different spaces.
    """
    one_space("evaluate", {"the features": features.space, "the texts": texts.space})
    columns = np.ascontiguousarray(texts.rows.T, np.float32)
    classes = np.empty(len(features.feat) + 1, np.int32)
    classes[-1] = NO_PREDICTION  # row -1
    for start in range(0, len(features.feat), _CHUNK):
        chunk = features.feat[start : start + _CHUNK].astype(np.float32)
        classes[start : start + len(chunk)] = np.argmax(chunk @ columns, axis=1)
    return classes[features.row]
