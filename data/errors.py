"""The faults a person can cause, as one small hierarchy.

Every message says what was found, what was expected and what to do. The command line prints it
and exits with 1; the service maps the class to an HTTP status in one place.
"""


class FcnError(Exception):
    """Base of every fault that a person can cause and mend."""


class ConfigError(FcnError):
    """A setting has a value that cannot work."""


class DataError(FcnError):
    """A data set on disk is not as its source expects."""


class LabelError(DataError):
    """A label map file or a mask names a class that does not exist."""


class ImageError(FcnError):
    """A picture cannot be used; the base of the three causes below."""


class UnsupportedImageError(ImageError):
    """The bytes are not a picture in a format that is read here."""


class CorruptImageError(ImageError):
    """The bytes begin as a picture but cannot be decoded to its end."""


class ImageTooLargeError(ImageError):
    """The picture has more pixels than the limit allows."""


class BundleError(FcnError):
    """A bundle is missing, incomplete, altered or of another schema version."""


class RunError(FcnError):
    """A training run cannot be started, resumed or read."""


class StoppedError(RunError):
    """A person stopped a training; the command line exits with 130, as shells have it."""


class ExportError(FcnError):
    """An exported network does not agree with the network that it came from."""


class HubError(FcnError):
    """A model hub cannot be reached, or refuses what is pushed."""


class ClusterError(FcnError):
    """A cluster cannot be reached, broke down, or has a machine that lacks what is needed."""
