"""What a MongoDB URI says of itself, without connecting: password, encryption, and a form that may be shown."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from hemiec.errors import InputError

_FORM = "write mongodb://user:password@host:27017/?authSource=admin, special characters percent-encoded"
#: Options whose values are secrets, in lower case as they are compared.
_SECRET_OPTIONS = {"tlscertificatekeyfilepassword", "authmechanismproperties", "sslpempassphrase"}
_SECRET_VALUE = re.compile(rf"((?:{'|'.join(_SECRET_OPTIONS)})=)[^&]*", re.IGNORECASE)


def check_uri(uri: str, *, files: bool = True) -> None:
    """Raise InputError for what is not a MongoDB URI; of the URI it names an unknown option or missing file alone.

    Parameters
    ----------
    uri
        The URI.
    files
        Whether the certificates that it names must be here.
    """
    if not uri.startswith(("mongodb://", "mongodb+srv://")) or re.search(r'[\s"\\]', uri):
        raise InputError("the MongoDB URI is not one.", mend=_FORM)
    if uri.startswith("mongodb+srv://"):
        return  # its hosts and options stand in the DNS: connecting tells
    try:
        parse_uri(uri, validate=True, warn=False)
    except OSError as error:
        if files:
            raise InputError(
                f"{error.filename}: the MongoDB URI names it, and it cannot be read ({error.strerror}).",
                mend="correct the option, or copy the file to where all nodes see it",
            ) from None
    except (PyMongoError, ValueError, TypeError) as error:
        # pymongo's texts may quote the URI; the name of an option it does not know is safe.
        unknown = re.match(r"Unknown option: (\w+)", str(error))
        detail = f": unknown option {unknown[1]!r}" if unknown else ""
        raise InputError(f"the MongoDB URI is not valid{detail}.", mend=_FORM) from None


def has_secret(uri: str) -> bool:
    """Return whether a URI holds a password, in front of the host or as an option."""
    return ":" in (_user(uri) or "") or any(key.lower() in _SECRET_OPTIONS for key, _ in _options(uri))


def lacks_password(uri: str) -> bool:
    """Return whether a URI names a user whose password is missing: certificates and Kerberos need none."""
    user = _user(uri)
    mechanism = dict(_options(uri)).get("authMechanism", "SCRAM-SHA-256")
    return user is not None and ":" not in user and mechanism.startswith("SCRAM")


def masked(uri: str) -> str:
    """Return a URI with every secret replaced by ***."""
    scheme, _, rest = uri.partition("://")
    # Up to the last @, in case the password has one that is not percent-encoded.
    user, at, hosts = rest.rpartition("@")
    shown = f"{user.partition(':')[0]}:***@{hosts}" if at and ":" in user else rest
    return f"{scheme}://" + _SECRET_VALUE.sub(r"\1***", shown)


def is_exposed(uri: str) -> bool:
    """Return whether traffic, password exchange included, goes over a network without TLS."""
    options = {key.lower(): value.lower() for key, value in _options(uri)}
    tls = options.get("tls", options.get("ssl", "true" if uri.startswith("mongodb+srv://") else "false"))
    return tls != "true" and not all(map(_is_loopback, _hosts(uri)))


def only_here(uri: str) -> bool:
    """Return whether a URI leads to this machine alone, which other nodes cannot reach."""
    return all(map(_is_loopback, _hosts(uri)))


def _before_options(uri: str) -> str:
    return uri.partition("://")[2].partition("?")[0]


def _user(uri: str) -> str | None:
    user, at, _ = _before_options(uri).rpartition("@")
    return user if at else None


def _hosts(uri: str) -> list[str]:
    return _before_options(uri).rpartition("@")[2].partition("/")[0].split(",")


def _options(uri: str) -> list[tuple[str, str]]:
    return parse_qsl(uri.partition("?")[2], keep_blank_values=True)


def _is_loopback(host: str) -> bool:
    return host.lower().startswith(("localhost", "127.", "[::1]", "%2f"))
