"""PCLMix for nnU-Net v2: segmentation learned from scribbles.

Keep this file free of imports: it is read at every start of the interpreter (see ``discovery``).
"""

__version__ = "0.1.0"
