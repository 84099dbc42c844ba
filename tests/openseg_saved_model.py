"""Build a SavedModel with OpenSeg's signature; run by an interpreter with TensorFlow.

Every second pixel of the image, through a matrix, at the top left of a square of 24
cells that holds 7 elsewhere.
"""

import sys

import numpy as np

SIDE, CHANNELS = 24, 768
MATRIX = np.sin(np.arange(3 * CHANNELS, dtype=np.float32)).reshape(3, CHANNELS)


def main(folder, renamed):
    import tensorflow as tf

    class Model(tf.Module):
        def __init__(self):
            super().__init__()
            self.matrix = tf.Variable(MATRIX)

        @tf.function(
            input_signature=[
                tf.TensorSpec([], tf.string, "inp_image_bytes"),
                tf.TensorSpec([None, None, CHANNELS], tf.float32, "inp_text_emb"),
            ]
        )
        def __call__(self, inp_image_bytes, inp_text_emb):
            image = tf.io.decode_image(inp_image_bytes, 3, expand_animations=False)
            cells = tf.cast(image[::2, ::2], tf.float32) / 255
            grid = tf.einsum("hwc,cd->hwd", cells, self.matrix)
            edges = tf.shape(cells)[:2]
            rest = [[0, SIDE - edges[0]], [0, SIDE - edges[1]], [0, 0]]
            padded = tf.pad(grid, rest, constant_values=7.0)[None]
            size = tf.cast(tf.shape(image)[:2], tf.float32)
            target, offset = tf.fill([2], float(SIDE)), tf.zeros([2])
            # A little more than a half: a product with a half must not fall below.
            info = [size, target, (tf.cast(edges, tf.float32) + 0.25) / size, offset]
            return {
                "image_info": tf.stack(info),
                "image_embedding_feat": -padded,
                renamed or "ppixel_ave_feat": padded + 0 * tf.reduce_sum(inp_text_emb),
            }

    model = Model()
    tf.saved_model.save(model, folder, signatures=model.__call__)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
