"""A warehouse as SQLAlchemy models: ``models`` has them, ``types`` the types of their columns. For both, ``broker.orm``."""

from alerts.extras import needs

needs("sqlalchemy")
