"""HTTP in."""

from terrazzo_mask_storage.api import datasets, exchange, gates, images, masks, merges, storage

routers = (
    images.router,
    masks.router,
    datasets.router,
    exchange.router,
    merges.router,
    gates.router,
    storage.router,
)
