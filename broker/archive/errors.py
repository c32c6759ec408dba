"""What can go wrong with the archive. Each message is one sentence that says what to do."""

from __future__ import annotations


class ArchiveError(Exception):
    """Base of the errors below."""


class NoLocalData(ArchiveError, LookupError):
    """No night has been downloaded into the folder."""


class UnknownAlert(ArchiveError, KeyError):
    """No local night holds an alert of that candid."""

    def __str__(self) -> str:
        # KeyError would show the sentence in quotes.
        return str(self.args[0])


class NoSuchRelease(ArchiveError, LookupError):
    """The archive, or this machine, does not have that night."""


class RemoteError(ArchiveError, OSError):
    """The archive does not answer, or its answer cannot be used."""


class ChecksumMismatch(RemoteError):
    """What was downloaded is not what the archive's MD5 list says."""


class NotEnoughSpace(ArchiveError, OSError):
    """The night does not fit onto the disk."""


class DamagedArchive(ArchiveError, OSError):
    """A night on this machine no longer holds what its index says."""
