# make demo   a small night from packets to an answer, on this machine alone
# make cloud-demo   the same through Google Cloud, on emulators
# make stream-demo  a night through a real Kafka, filters, and Kafka again (Java and Maven, or PITT_BROKER_TEST_KAFKA=HOST:PORT), with a kill in its midst
# make test   the tests that need neither network nor cloud
# make coverage   which lines and branches the tests run (COVERAGE_FAIL_UNDER=90 of lines)
# make test-faults   whole runs struck by faults, then audited (some 20 minutes)
# make soak   a stream for long: 50,000 messages with 30 kills, then seven nights in fast time, then ten minutes of hits with 20 kills
#             (some 25 minutes; takes root)
# make fuzz   ten minutes of packets, archives and answers damaged at random, other ones each time (FUZZ_SECS=60 for one minute)
# make check  format, lint, types
# make bench  how fast it is beside the naive ways and other people's clients (half an hour; BENCH=--quick for its first part)
# make .venv-zetasql/installed   Google's reference engine, in an environment of its own: make test holds filters against it where it is
# make .venv-clients/installed   Rubin's and Pitt-Google's clients, in an environment of their own: make test has them read our streams
# make notebook   docs/notebook.ipynb of docs/notebook.md, with what its cells show
# make test-pythons   the fast tests on other Pythons than CI's 3.11 (PYTHONS='3.12 3.13'), each in an environment of its own
# make dist   sdist and wheel, the wheel in an empty environment and a small night through it (EXTRAS=notebook)
# make constraints   constraints.txt anew: what pip installs today (CONTRIBUTING.md)
# make audit-dependencies   known vulnerabilities of what constraints.txt pins (AUDIT=--unreachable_ok: none told where nobody can be asked)
PYTHON ?= python3
BIN := .venv/bin
NIGHT := demo/night
FUZZ_SECS ?= 600

PYTHONS ?= 3.12 3.13
EXTRAS ?=
FAULTS_PAGE ?=
COVERAGE_FAIL_UNDER ?= 90
COVERED := alerts warehouses transforms pipelines audit

.PHONY: demo cloud-demo stream-demo notebook test coverage test-faults test-pythons fuzz soak check dist constraints audit-dependencies bench format clean

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

# The stamps are newer than the files that say what to install: a second run reuses the .venv.
.venv/base: setup.py pyproject.toml constraints.txt
	@echo "== making .venv and installing 150 packages (a minute, the first time, beside the download of 300 MB)"
	$(PYTHON) -m venv .venv
	$(INSTALL) .
	@touch $@

.venv/installed: .venv/base
	@echo "== installing what tests, notebooks and emulators need besides (a minute, the first time)"
	$(INSTALL) '.[notebook,test,cloud,kafka,stream]'
	@touch $@

demo: .venv/base
	@echo "== 1 of 4: a made-up night of ZTF packets, 20 of them sent twice, 10 damaged"
	$(BIN)/broker simulate --survey ztf --alerts 1000 --seed 1 --duplicates 20 --damaged 10 --out $(NIGHT)
	@echo "== 2 of 4: packets to tables in ./warehouse"
	$(BIN)/broker ingest --input $(NIGHT) --warehouse ./warehouse
	@echo "== 3 of 4: the five brightest alerts"
	$(BIN)/broker query --warehouse ./warehouse "SELECT alert_id, object_id, observed_at, round(candidate.magpsf, 2) AS magpsf, len(prv_candidates) AS history FROM ztf_alerts_unique ORDER BY candidate.magpsf LIMIT 5"
	@echo "== 4 of 4: why ten packets are dead letters"
	$(BIN)/broker query --warehouse ./warehouse "SELECT stage, error_type, message FROM dead_letters"

test: .venv/installed
	@echo "== tests"
	@# Two at a time: most of the time the tests wait for emulators. A file's tests share what they have made, and the longest
	@# files begin (tests/conftest.py): what began last would run alone.
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Children count too (pyproject.toml). What compares costs is left out: coverage would change them.
coverage: .venv/installed
	@echo "== tests, with the lines and branches that they run"
	rm -rf .coverage
	$(BIN)/python -m coverage run -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not remote and not faults and not cost'
	$(BIN)/python -m coverage combine --quiet
	@for one in schemas broker simulation; do $(BIN)/python -m tests.coverage_floor $$one 0; done
	@for one in $(COVERED); do $(BIN)/python -m tests.coverage_floor $$one $(COVERAGE_FAIL_UNDER) || exit 1; done

test-faults: .venv/installed
	@echo "== faults; FAULTS_PAGE=docs/reliability.md also writes the table into that page"
	FAULTS_PAGE=$(FAULTS_PAGE) $(BIN)/python -m pytest -m faults -n 2 --dist worksteal tests/faults

test-pythons: .venv/installed
	@echo "== fast tests on Python $(PYTHONS) (some minutes to install, the first time)"
	$(BIN)/python -m deploy.other_pythons $(PYTHONS)

soak: .venv/installed
	$(BIN)/python -m tests.soak
	$(BIN)/python -m tests.soak_out

fuzz: .venv/installed
	@echo "== inputs damaged at random, $(FUZZ_SECS) s"
	$(BIN)/python -m tests.fuzz $(FUZZ_SECS)

check: .venv/installed
	@echo "== format, lint, types"
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@# What only the tests import from each other, no type checker has looked at.
	$(BIN)/python -m pytest --collect-only -qq --no-header

# With an environment of its own: the peers bring a hundred packages that the broker does not know.
.venv-bench/installed: setup.py pyproject.toml constraints.txt
	@echo "== making .venv-bench and installing"
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[notebook,test,cloud,bench]'
	@touch $@

# Google's reference engine, whose dependencies are none of ours; what it compiles of itself takes a minute, once.
ZETASQL ?= 0.1.5
.venv-zetasql/installed:
	@echo "== making .venv-zetasql and installing Google's reference engine (two minutes)"
	$(PYTHON) -m venv .venv-zetasql
	.venv-zetasql/bin/python -m pip install --quiet --disable-pip-version-check zetasql==$(ZETASQL)
	.venv-zetasql/bin/python tests/alerts/filters/googlesql_program.py .venv-zetasql --compile
	@touch $@

# Clients that people read streams with, as they are published. They bring pandas, with which Google's clients start otherwise.
.venv-clients/installed: constraints.txt
	@echo "== making .venv-clients and installing others' clients (a minute)"
	$(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		lsst-alert-packet pittgoogle-client
	@touch $@

bench: .venv-bench/installed .venv-zetasql/installed
	.venv-bench/bin/python -m benchmarks.bench $(BENCH)

dist: .venv/installed
	@echo "== sdist, wheel, and the wheel tried in an empty environment"
	$(BIN)/python -m deploy.distribution --extras '$(EXTRAS)'

constraints:
	@echo "== installing all extras anew in an environment of its own (some minutes)"
	$(PYTHON) -m deploy.renew_constraints

audit-dependencies: .venv/installed
	@echo "== known vulnerabilities"
	$(BIN)/python -m deploy.audit_dependencies $(AUDIT)

notebook: .venv/installed
	@echo "== docs/notebook.md in a kernel"
	$(BIN)/python -m tests.broker.notebook

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-* .coverage warehouse demo build dist *.egg-info

stream-demo: .venv/installed
	@echo "== a night through Kafka into a folder, killed in its midst, and hits into Kafka (a minute; its jars are fetched once, 43 MB)"
	$(BIN)/python -W ignore -m tests.kafka.demo

cloud-demo: .venv/installed
	@echo "== a night through Pub/Sub and load files into BigQuery, on emulators (some minutes)"
	$(BIN)/python -m tests.cloud.demo
