"""What ``broker filter`` does: filters checked, tried over nights, and explained term by term."""
