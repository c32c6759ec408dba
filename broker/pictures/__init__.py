"""Pictures of alerts: their stamps, their light curves, and where on the sky a night found them."""

from alerts.extras import needs

needs("matplotlib")

from broker.pictures.light_curve import plot_light_curve  # noqa: E402
from broker.pictures.sky import plot_sky  # noqa: E402
from broker.pictures.stamps import plot_stamps  # noqa: E402

__all__ = ["plot_light_curve", "plot_sky", "plot_stamps"]
