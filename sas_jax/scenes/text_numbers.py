"""Numbers written as text."""

import numpy as np
from jaxtyping import Float64


def parse_numbers(text: bytes) -> Float64[np.ndarray, " N"]:
    """Return the numbers of a text, with white space between them.

    Raises:
      ValueError: where something else stands between.
    """
    text = text.strip()  # of nothing but white space, numpy makes a number
    try:
        return np.fromstring(text, np.float64, sep=" ")
    except ValueError as error:
        raise ValueError("rows of a text that are no numbers") from error
