"""Every error this package raises on purpose, in one tree.

::

    DeepClusterError
    ├── InputError (ValueError)          a value that cannot work: options, images, names
    │   ├── OptionsError                 an option, or a combination of options
    │   └── ImagesError                  the images: none, unreadable, of the wrong kind
    │       └── UnreadableImageError     one image: which, and why
    ├── CancelledError                   the observer asked to stop
    ├── MissingDependencyError (ImportError)   an optional package that this call needs
    ├── PartError                        a part (clusterer, encoder ...) that breaks its contract
    ├── CheckpointError                  a checkpoint that cannot be read or does not fit
    └── RunError                         a run stored on a dataset
        ├── RunExistsError               the key is taken
        ├── RunNotFoundError             no run under this key
        └── RunLockedError               another process is writing this key

Messages say what is wrong with the value, what was needed, and the way out.
"""

from __future__ import annotations


class DeepClusterError(Exception):
    """Base of all errors raised on purpose by this package."""


class InputError(DeepClusterError, ValueError):
    """A value given by the caller cannot work."""


class OptionsError(InputError):
    """An option, or a combination of options, is out of range."""


class ImagesError(InputError):
    """The images given cannot be clustered."""


class UnreadableImageError(ImagesError):
    """One image cannot be read.

    Attributes:
        path: the file.
        reason: why, without the path.
        lasting: whether the file itself is at fault; False where another try may succeed (no
            permission, a package missing), so that the outcome is not remembered.
    """

    def __init__(self, path: str, reason: str, *, lasting: bool = True) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.lasting = lasting


class CancelledError(DeepClusterError):
    """The observer asked to stop before the work was complete."""


class MissingDependencyError(DeepClusterError, ImportError):
    """An optional package is needed for this call and is not installed."""


class PartError(DeepClusterError):
    """A part failed, or gave something that its contract rules out: the mistake is in the part's own code."""


class CheckpointError(DeepClusterError):
    """A checkpoint cannot be read, or belongs to other options or images."""


class RunError(DeepClusterError):
    """Something is wrong with a run stored on a dataset."""


class RunExistsError(RunError):
    """The key is already taken by another run or field."""


class RunNotFoundError(RunError):
    """No run is stored under this key."""


class RunLockedError(RunError):
    """Another process is working on this key right now."""
