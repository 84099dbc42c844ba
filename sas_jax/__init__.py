"""SAS in JAX: open-vocabulary 3-D scene understanding from several 2-D teachers.

The PyTorch half (`teachers`, `capability`) writes caches; the JAX half (`sparse`,
`models`, `distill`, `evaluate`) reads them. Importing this package needs neither
torch nor transformers.
"""

__version__ = "0.1.0"
