"""One label map from the votes of several annotators: the public names of `fusion`, which says how."""

from terrazzo_masks.consensus.fusion import (
    CONFUSION_CELLS_MAX,
    DISPUTED_BELOW,
    METHODS,
    Consensus,
    Method,
    agreement,
    consensus,
    merge_region,
)

__all__ = [
    "CONFUSION_CELLS_MAX",
    "DISPUTED_BELOW",
    "METHODS",
    "Consensus",
    "Method",
    "agreement",
    "consensus",
    "merge_region",
]
