"""Dataset versions over REST, from mask storage."""

from __future__ import annotations

from terrazzo_client import BadRequest, NotFound, Unprocessable
from terrazzo_runtime.service import Peers
from terrazzo_training.ports import UnknownRef


class RestDatasetVersions:
    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    def resolve(self, organisation_id: str, project_id: str, ref: str) -> str:
        """See `ports.DatasetVersions`."""
        client = self._peers.client("training", organisation_id)
        try:
            return client.datasets.show(project_id, ref).commit_id
        except NotFound as error:
            if error.slug == "not-known-yet":  # mask storage has not heard of the project
                raise
            raise UnknownRef(error.problem.detail) from error
        except (BadRequest, Unprocessable) as error:
            raise UnknownRef(error.problem.detail) from error
        except ValueError as error:  # "..", say: no name at all
            raise UnknownRef(str(error)) from error
