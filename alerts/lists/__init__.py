"""Lists of one's own, which filters ask about: watchlists of places, and regions of the sky."""
