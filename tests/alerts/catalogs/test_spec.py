import pytest

from alerts.catalogs.catalog import BadCatalog
from alerts.catalogs.known import KNOWN, unit_of
from alerts.catalogs.spec import canary_position, epochs, parse_spec


@pytest.mark.parametrize(
    ("text", "name", "kind", "target", "radius"),
    [
        ("vizier:II/246/out", "vizier:II/246/out", "vizier", "II/246/out", 5.0),
        ("vizier:B/vsx/vsx?radius_arcsec=1.5", "vizier:B/vsx/vsx", "vizier", "B/vsx/vsx", 1.5),
        ("vizier:J/A+A/552/A8/tablea1", "vizier:J/A+A/552/A8/tablea1", "vizier", "J/A+A/552/A8/tablea1", 5.0),
        ("simbad", "simbad", "simbad", "", 5.0),
        ("file:gs://bucket/a.parquet?ra=RA", "file:gs://bucket/a.parquet", "file", "gs://bucket/a.parquet", 5.0),
        ("file:./my stars.csv?radius_arcsec=180", "file:./my stars.csv", "file", "./my stars.csv", 180.0),
    ],
)
def test_names(text, name, kind, target, radius):
    spec = parse_spec(text, 5.0)
    assert (spec.name, spec.kind, spec.target, spec.radius_arcsec) == (name, kind, target, radius)


def test_columns_are_what_the_person_says():
    spec = parse_spec("vizier:J/X/1/t?ra=RAJ2000&dec=DEJ2000&id=Name&epoch=2016&canary=10.5,-3.25", 2.0)
    assert dict(spec.columns) == {"ra": "RAJ2000", "dec": "DEJ2000", "id": "Name", "epoch": "2016", "canary": "10.5,-3.25"}
    assert epochs(spec) == (2016.0, None)
    assert canary_position(spec) == (10.5, -3.25)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2mass", "names no catalog"),
        ("vizier:", "names no catalog"),
        ("simbad:x", "names no catalog"),
        ("file:", "names no catalog"),
        ("watchlist:gal", "names no catalog"),
        ("http://x", "names no catalog"),
        ("vizier:II", "no VizieR table"),
        ("vizier:II/246/out; DROP", "no VizieR table"),
        ("vizier:II/246/out?radius_arcsec=0", "above 0"),
        ("vizier:II/246/out?radius_arcsec=181", "at most 180"),
        ("vizier:II/246/out?radius_arcsec=nan", "give a number"),
        ("vizier:II/246/out?radius_arcsec=", "give a number"),
        ("vizier:II/246/out?radius=5", "'radius'; vizier takes"),
        ("vizier:II/246/out?radius_arcsec", "name=value"),
        ("vizier:II/246/out?id=a&id=b", "twice"),
        ("simbad?ra=x", "simbad takes radius_arcsec"),
    ],
)
def test_refusals_say_what_to_do(text, says):
    with pytest.raises(BadCatalog, match=says):
        parse_spec(text, 5.0)


@pytest.mark.parametrize("value", ["10", "10,20,30", "370,0", "10,-91", "a,b"])
def test_a_canary_is_a_place_on_the_sky(value):
    with pytest.raises(BadCatalog, match="canary"):
        canary_position(parse_spec(f"vizier:II/246/out?canary={value}", 5.0))


def test_columns_of_known_catalogs_have_the_units_of_vizier():
    units = {"RAdeg": "deg", "Plx": "mas", "e_Plx": "mas", "pmRA": "mas/yr", "pmDE": "mas/yr", "errHalfMaj": "arcsec"}
    units |= {"MeasureJD": "d", "Jmag": "mag", "e_Jmag": "mag", "B-V": "mag", "Source": None, "Qfl": None}
    assert {name: unit_of(name) for name in units} == units
    assert units.keys() <= {name for known in KNOWN.values() for name in known.columns}
