"""The distribution: what a worker, a laptop and CI install."""

from setuptools import setup

setup(
    name="pitt-broker",
    version="0.1.0",
    description="An astronomical alert broker: one Apache Beam pipeline from alert packets to tables",
    long_description=open("README.md", encoding="utf-8").read(),  # noqa: SIM115
    long_description_content_type="text/markdown",
    license="BSD-3-Clause",
    python_requires=">=3.10",
    packages=[
        "alerts",
        "alerts.surveys",
        "broker",
        "broker.simulation",
        "pipelines",
        "schemas",
        "transforms",
    ],
    package_data={"schemas": ["avro/*/*.avsc"]},
    install_requires=[
        "apache-beam[gcp]>=2.77",
        "astropy>=6.1",
        "astroquery>=0.4.11",
        "cdshealpix>=0.8",
        "cramjam>=2.9",
        "duckdb>=1.4",
        "fastavro>=1.10",
        "google-cloud-bigquery>=3.30",
        "google-cloud-pubsub>=2.20",
        "numba>=0.61",
        "numpy>=1.26",
        "pyarrow>=19",
        "pytz",
        "xxhash>=3.5",
        "zlib-ng>=0.5",
    ],
    extras_require={
        "test": ["hypothesis", "mypy", "pytest", "ruff"],
        # Emulators for the tests and for make cloud-demo: these versions work together, others do not.
        "cloud": [
            "bqemulator==1.4.0; python_version >= '3.11'",
            "duckdb==1.5.5",
            "duckdb-extension-avro==1.5.5",
            "duckdb-extension-icu==1.5.5",
            "duckdb-extension-json==1.5.5",
            "duckdb-extension-spatial==1.5.5",
            "duckdb-extensions==1.5.5",
            "gcp-storage-emulator==2026.7.19",
        ],
    },
    entry_points={"console_scripts": ["broker = broker.cli:console"]},
)
