"""Zero-shot semantic segmentation: the class whose text is nearest to the feature.

P points, C channels of the text space, K classes. One protocol serves 2-D features
of a teacher, fused features and student features alike.
"""

import numpy as np
from jaxtyping import Float, Int

from sas_jax.artefacts.features import PointFeatures
from sas_jax.errors import InputError
from sas_jax.evaluate.confusion import NO_PREDICTION

_CHUNK = 65_536


def classify(
    features: Float[np.ndarray, "N C"], text_features: Float[np.ndarray, "K C"]
) -> Int[np.ndarray, "N"]:
    """Return the index of the nearest text of every feature, in chunks.

    The features are not normalised: the argmax of a product with unit texts does not
    depend on a row's length.

    Args:
      features: float16 or float32, any length.
      text_features: unit rows, e.g. of the prompts "a XX in a scene" (section 3.5).

    Returns:
      int32 class indices.

    Raises:
      InputError: when the two live in spaces of different size.
    """
    if features.shape[1] != text_features.shape[1]:
        raise InputError(
            f"evaluate: features and texts must share one space, got "
            f"{features.shape[1]} and {text_features.shape[1]} channels. "
            "Use the text tower that the features were made with."
        )
    texts = np.ascontiguousarray(text_features.T, np.float32)
    result = np.empty(len(features), np.int32)
    for start in range(0, len(features), _CHUNK):
        chunk = features[start : start + _CHUNK].astype(np.float32)
        result[start : start + _CHUNK] = np.argmax(chunk @ texts, axis=1)
    return result


def classify_points(
    features: PointFeatures, text_features: Float[np.ndarray, "K C"]
) -> Int[np.ndarray, "P"]:
    """Classify the points that have a feature; the others get -1.

    Args:
      features: features of the M points seen by a camera, of P points.
      text_features: unit rows.

    Returns:
      int32 class indices of all P points, -1 where no camera saw the point.
    """
    prediction = np.full(features.num_points, NO_PREDICTION, np.int32)
    prediction[features.point_index] = classify(features.feat, text_features)
    return prediction
