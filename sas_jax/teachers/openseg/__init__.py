"""OpenSeg: a dense teacher that runs a TensorFlow SavedModel in a process of its own.

`teacher` is the adapter, `process` the end of the pipes on this side, `worker` the
script on the other side, which needs numpy and TensorFlow and nothing of this package.
"""
