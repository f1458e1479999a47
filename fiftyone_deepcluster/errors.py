"""Hierarchy of the exceptions raised by this package.

::

    DeepClusterError
    ├── InputError (ValueError)          an invalid value: options, images, names
    │   ├── OptionsError                 an invalid option, or combination of options
    │   └── ImagesError                  no images, unreadable images, or an unsupported type
    │       └── UnreadableImageError     one image cannot be read; has its path and the reason
    ├── CancelledError                   the observer requested cancellation
    ├── MissingDependencyError (ImportError)   an optional package is needed
    ├── PartError                        a part (clusterer, encoder, ...) violates its contract
    ├── ProcessError                     another process of a job with several ended
    ├── CheckpointError                  a checkpoint cannot be read or does not match
    ├── DiskError (OSError)              a disk is full, read-only, or gone
    └── RunError                         a problem with a run stored on a dataset
        ├── RunExistsError               the key is already in use
        ├── RunNotFoundError             no run has this key
        ├── RunLockedError               another process is writing this run
        └── DatabaseAwayError            FiftyOne's database was stopped, or cannot be reached

Messages state what is wrong with the value, what is needed, and how to fix it.
"""

from __future__ import annotations

from functools import partial


class DeepClusterError(Exception):
    """Base class of all exceptions raised by this package."""


class InputError(DeepClusterError, ValueError):
    """A value passed by the caller is invalid."""


class OptionsError(InputError):
    """An option, or a combination of options, is invalid."""


class ImagesError(InputError):
    """The images cannot be clustered."""


class UnreadableImageError(ImagesError):
    """One image cannot be read.

    Attributes:
        path: path of the file.
        reason: why it cannot be read, without the path.
        lasting: whether the failure is permanent because of the file itself. False where a retry may
            succeed (no permission, a missing package); such a failure is not cached.
    """

    def __init__(self, path: str, reason: str, *, lasting: bool = True) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.lasting = lasting

    def __reduce__(self) -> tuple[partial[UnreadableImageError], tuple[str, str]]:
        """Pickled by its parts, so that it can be raised in a worker process."""
        return partial(type(self), lasting=self.lasting), (self.path, self.reason)


class CancelledError(DeepClusterError):
    """The observer requested cancellation before the work was complete."""


class MissingDependencyError(DeepClusterError, ImportError):
    """An optional package that this call needs is not installed."""


class PartError(DeepClusterError):
    """A part failed or returned a value that violates its contract: a bug in the part's own code."""


class ProcessError(DeepClusterError):
    """Another process of a job with several processes ended, or cannot be reached."""


class CheckpointError(DeepClusterError):
    """A checkpoint cannot be read, or was written with other options or images."""


class DiskError(DeepClusterError, OSError):
    """A file or folder cannot be written, or read back: its disk is full, read-only, or gone.

    Nothing half-written is left, and earlier files are unchanged.

    Attributes:
        path: file or folder.
        problem: what is wrong, and how to fix it there.
        way: how to retry then, and how to choose another place.
    """

    def __init__(self, path: str, problem: str, way: str) -> None:
        super().__init__(f"{problem} and {way}")
        self.path = path
        self.problem = problem
        self.way = way

    def __reduce__(self) -> tuple[type[DiskError], tuple[str, str, str]]:
        """Pickled by its three parts."""
        return type(self), (self.path, self.problem, self.way)


class RunError(DeepClusterError):
    """A problem with a run stored on a dataset."""


class RunExistsError(RunError):
    """The key is already in use by another run or field."""


class RunNotFoundError(RunError):
    """No run with this key is stored on the dataset."""


class RunLockedError(RunError):
    """Another process is writing the run with this key."""


class DatabaseAwayError(RunError):
    """FiftyOne's database was stopped, or cannot be reached."""
