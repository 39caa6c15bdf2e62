"""From source estimates and brain images to the time courses of parcels."""
