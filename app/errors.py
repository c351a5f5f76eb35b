"""Domain errors. No web framework is imported here; `app.application` maps type to HTTP status in one table.

PltvError
├── InputError                a caller's mistake: what, where, expected, received            400
│   ├── BodyTooLarge          the body, or what it inflates to, is over the limit            413
│   └── UnsupportedMedia      a Content-Type or Content-Encoding that is not understood      415
├── DeclarationError          config/*.yaml or declaration.json says something impossible    exit 2
├── DataError                 a file or a column of the offline data is not as declared      exit 2
├── BundleError               a bundle that may not be used                                  exit 1
│   ├── BundleCorrupt         a hash, count, certificate or golden row disagrees
│   └── BundleIncompatible    sound, but made for another platform, format or declaration
├── Unauthorized              a token is missing or wrong                                    401
├── Overloaded                admission refused the call; retry later                        503
├── NotReady                  no bundle is live yet                                          503
└── StoreUnavailable          Redis could not confirm a write or an erasure                  503
"""

from __future__ import annotations


class PltvError(Exception):
    """Root of everything that pltv raises on purpose. `str(error)` is one clear line, safe to show."""


class InputError(PltvError):
    """A caller's mistake.

    Parameters
    ----------
    detail : str
        One line: what was expected and what came. Never the value of something that identifies a person.
    field : str or None
        Dotted path of the offending field (`imp.0.id`), None when the whole body is meant.
    """

    def __init__(self, detail: str, field: str | None = None) -> None:
        super().__init__(detail if field is None else f"{field}: {detail}")
        self.detail = detail
        self.field = field


class BodyTooLarge(InputError):
    """The body, or what it inflates to, is over the configured limit."""


class UnsupportedMedia(InputError):
    """A Content-Type or Content-Encoding that the service does not read."""


class DeclarationError(PltvError):
    """A declaration (config/*.yaml, declaration.json) that contradicts itself or names something unknown."""


class DataError(PltvError):
    """Offline data that are not as declared; the message names the file and the column."""


class BundleError(PltvError):
    """A bundle that may not be used."""


class BundleCorrupt(BundleError):
    """A hash, a row count, the certificate or a golden answer disagrees with the manifest."""


class BundleIncompatible(BundleError):
    """A sound bundle made for another platform, format version or declaration."""


class Unauthorized(PltvError):
    """A token is missing or wrong."""


class Overloaded(PltvError):
    """Admission refused the call.

    Parameters
    ----------
    retry_after_s : int
        Whole seconds to wait before the next try, sent as `Retry-After`.
    reason : str
        How the metrics name it.
    """

    def __init__(self, detail: str, retry_after_s: int = 1, reason: str = "in_flight") -> None:
        super().__init__(detail)
        self.reason = reason
        self.retry_after_s = retry_after_s


class NotReady(PltvError):
    """No bundle is live yet."""


class StoreUnavailable(PltvError):
    """Redis could not confirm a write or an erasure."""
