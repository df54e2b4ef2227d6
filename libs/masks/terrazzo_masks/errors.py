"""What can be wrong with a mask.

MaskError(ValueError)
|-- CorruptMask       the bytes are damaged, hostile or not what they claim to be
|-- UnsupportedMask   the input is sound, but not a label map that Terrazzo takes (RGB, float, 3 axes, ...)
|-- ShapeMismatch     two arrays, or an array and a region, do not fit each other
`-- MissingPart       a store does not have the node or tile that a manifest names
"""


class MaskError(ValueError):
    """Base of every error that this library raises on purpose."""


class CorruptMask(MaskError):
    """Bytes that are damaged, hostile or larger than the caller allows."""


class UnsupportedMask(MaskError):
    """A sound input that is not a label map: the message says what would be right."""


class ShapeMismatch(MaskError):
    """Sizes that do not fit: the message names both."""


class MissingPart(MaskError):
    """A digest that a store of parts does not know: the message quotes it."""
