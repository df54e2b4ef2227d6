"""The Python SDK of Terrazzo over REST: typed, synchronous, with paging iterators and safe retries.

from terrazzo_client import TerrazzoClient

with TerrazzoClient("http://127.0.0.1:8470", key="tz_...") as client:
    for project in client.projects.list():
        print(project.name, client.projects.progress(project.project_id).tasks)
"""

from terrazzo_client.client import TerrazzoClient
from terrazzo_client.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    NoAnswer,
    NotFound,
    RequestFailed,
    ServerFault,
    StorageFull,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    Unprocessable,
    WaitedTooLong,
)

__all__ = [
    "TerrazzoClient",
    "RequestFailed",
    "ApiError",
    "BadRequest",
    "Unauthenticated",
    "Forbidden",
    "NotFound",
    "Conflict",
    "TooLarge",
    "Unprocessable",
    "TooManyRequests",
    "ServerFault",
    "Unavailable",
    "StorageFull",
    "NoAnswer",
    "WaitedTooLong",
]
