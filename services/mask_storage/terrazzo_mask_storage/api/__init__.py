"""HTTP in."""

from terrazzo_mask_storage.api import datasets, exchange, gates, images, label_files, masks, merges, storage

routers = (
    images.router,
    masks.router,
    datasets.router,
    exchange.router,
    label_files.router,
    merges.router,
    gates.router,
    storage.router,
)
