"""The trainer's errors.

TrainerError
├── ConfigError      a field of the run's configuration is wrong         exit 2
├── DataError        a sample cannot be read or does not fit its labels  exit 3
├── NonFiniteError   loss or gradient norm is not a finite number        exit 4
├── CheckpointError  a checkpoint or weights file cannot be continued    exit 5
├── ExportError      the exported model does not reproduce the network   exit 6
└── Interrupted      asked to stop; a checkpoint was written             exit 75 (sysexits.h EX_TEMPFAIL)
"""

from __future__ import annotations


class TrainerError(Exception):
    """Base of every error that the trainer raises on purpose; ``exit_code`` is the process's."""

    exit_code = 1


class ConfigError(TrainerError):
    """A configuration field is missing, unknown or out of range; names field, value and remedy."""

    exit_code = 2

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{field} = {value!r}: {remedy}")
        self.field = field
        self.value = value
        self.remedy = remedy


class DataError(TrainerError):
    """A sample cannot be used for training: unreadable, of another size, or with foreign class ids."""

    exit_code = 3


class NonFiniteError(TrainerError):
    """Loss or gradient norm is infinite or not a number; the step was not taken."""

    exit_code = 4


class CheckpointError(TrainerError):
    """A checkpoint or weights file is unreadable or belongs to another run."""

    exit_code = 5


class ExportError(TrainerError):
    """The exported model differs from the network that it was made from."""

    exit_code = 6


class Interrupted(TrainerError):
    """The process was told to stop; its state is in the checkpoint: 'come again'."""

    exit_code = 75
