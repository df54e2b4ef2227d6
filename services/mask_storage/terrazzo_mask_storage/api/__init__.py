"""HTTP in."""

from terrazzo_mask_storage.api import datasets, images, masks

routers = (images.router, masks.router, datasets.router)
