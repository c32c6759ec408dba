"""Pictures of alerts: their stamps, their light curves, and where on the sky a night found them."""

from broker.pictures.light_curve import plot_light_curve
from broker.pictures.sky import plot_sky
from broker.pictures.stamps import plot_stamps

__all__ = ["plot_light_curve", "plot_sky", "plot_stamps"]
