"""Everything that can go wrong, with stable codes for programs and one line for people.

Example:
    >>> from styleplugin import errors, read_image
    >>> try:
    ...     read_image("gone.jpg")
    ... except errors.InputImageError as error:
    ...     print(error.code, error.exit_code)
    SP201 3
"""

from __future__ import annotations

from typing import Any, ClassVar


class StylePluginError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        code: Stable identifier, "SP" and three digits; the first digit is the family.
        message: What was given and what is needed, one sentence.
        hint: What to change, one sentence; may be empty.
        details: Values for programs (sizes, names), JSON-serializable.

    Example:
        >>> error = StylePluginError("SP999", "It rained.", "Wait for the sun.")
        >>> print(f"{error.code}: {error}")
        SP999: It rained. Wait for the sun.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, message: str, hint: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(f"{message} {hint}".strip())
        self.code = code
        self.message = message
        self.hint = hint
        self.details = details or {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.message, self.hint, self.details)


class UsageError(StylePluginError, ValueError):
    """SP1xx: an unknown option, a value out of range, an impossible combination."""

    exit_code = 2


class InputImageError(StylePluginError):
    """SP2xx: a picture file that cannot be used."""

    exit_code = 3


class ImageTooLargeError(InputImageError):
    """SP2xx: a picture beyond the pixel limit."""


class TensorInputError(InputImageError):
    """SP2xx: an array or tensor of the wrong shape, type or range."""


class MaskError(InputImageError):
    """SP2xx: a mask that does not fit its picture."""


class WeightsError(StylePluginError):
    """SP3xx: a weights file of the wrong format, content or architecture."""

    exit_code = 4


class HubError(StylePluginError):
    """SP4xx: a download that failed."""

    exit_code = 5


class ResourceError(StylePluginError):
    """SP5xx: not enough memory or disk, or a lost device."""

    exit_code = 6


class OutputError(StylePluginError):
    """SP6xx: a result that could not be written."""

    exit_code = 7


class NumericalError(StylePluginError):
    """SP7xx: non-finite or diverged values."""

    exit_code = 8


class CheckpointError(StylePluginError):
    """SP8xx: a training state that cannot be used."""

    exit_code = 9


class Cancelled(StylePluginError):  # noqa: N818 - a user's wish, not an error
    """SP9xx: stopped by the user."""

    exit_code = 130

    def __init__(self, message: str = "Stopped on request.") -> None:
        super().__init__("SP900", message)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message,)


class StylePluginWarning(UserWarning):
    """The one class of our warnings; each is also listed in the report.

    Example:
        >>> import warnings
        >>> from styleplugin import Report
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("error", StylePluginWarning)
        ...     Report().warn("The style has one color.")
        Traceback (most recent call last):
        styleplugin.errors.StylePluginWarning: The style has one color.
    """
