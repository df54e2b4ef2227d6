"""HTTP in."""

from terrazzo_mask_storage.api import datasets, exchange, images, masks

routers = (images.router, masks.router, datasets.router, exchange.router)
