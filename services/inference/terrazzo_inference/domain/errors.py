"""What can be wrong with a model. Each is a business error, so it has a status and a remedy.

CorruptInput
├── BadModel      a model repository's files break the contract: a retry can't help
└── BadOutput     a model answered with something that is no prediction
Unavailable
└── ModelMissing  a version isn't in the repository (yet)
Conflict
└── NotLoaded     a model was asked before it was loaded, or after it was unloaded
"""

from __future__ import annotations

from terrazzo_schema.errors import Conflict, CorruptInput, Unavailable


class BadModel(CorruptInput):
    slug, title = "bad-model", "The model repository's files break the contract"


class BadOutput(CorruptInput):
    slug, title = "bad-model-output", "The model's answer is no prediction"


class ModelMissing(Unavailable):
    slug, title = "model-missing", "The model's version is not in the repository"


class NotLoaded(Conflict):
    slug, title = "model-not-loaded", "The model is not loaded"
