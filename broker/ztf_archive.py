"""The public archive of ZTF alerts: nights from there to here, and their alerts.

>>> from broker import ztf_archive as ztfa
>>> ztfa.download_data()  # the most recent night that is not yet here; a night is several GB
>>> for alert in ztfa.iter_alerts():
...     print(alert["candid"], alert["objectId"])
>>> ztfa.get_alert_data(alert["candid"])

A night stays packed, as ``ztf_public_YYYYMMDD.tar.gz`` of one Avro packet per alert, in one folder: ``folder=``, else
``$PITT_BROKER_DATA/ztf_archive``, else that of ``platformdirs``. An index beside it, of 1 % of its size, tells where each
alert is; it is made after a download, or when first needed. ``url=``, else ``$PITT_BROKER_ZTF_URL``, names another archive.
``progress`` None shows bars on a terminal and in a notebook, True everywhere, False nowhere. Warnings go to the log
``broker.ztf_archive``.
"""

from broker.archive.errors import (
    ArchiveError,
    ChecksumMismatch,
    DamagedArchive,
    NoLocalData,
    NoSuchRelease,
    NotEnoughSpace,
    RemoteError,
    UnknownAlert,
)
from broker.archive.nights import (
    delete_local_data,
    download_data,
    download_data_date,
    download_recent_data,
    get_alert_data,
    get_local_alert_list,
    get_local_release_list,
    get_number_local_alerts,
    get_number_local_releases,
    get_remote_md5_table,
    get_remote_release_list,
    iter_alerts,
)
from broker.archive.remote import ZTF_URL
from broker.archive.stamps import plot_stamps

__all__ = [
    "ZTF_URL",
    "ArchiveError",
    "ChecksumMismatch",
    "DamagedArchive",
    "NoLocalData",
    "NoSuchRelease",
    "NotEnoughSpace",
    "RemoteError",
    "UnknownAlert",
    "delete_local_data",
    "download_data",
    "download_data_date",
    "download_recent_data",
    "get_alert_data",
    "get_local_alert_list",
    "get_local_release_list",
    "get_number_local_alerts",
    "get_number_local_releases",
    "get_remote_md5_table",
    "get_remote_release_list",
    "iter_alerts",
    "plot_stamps",
]
