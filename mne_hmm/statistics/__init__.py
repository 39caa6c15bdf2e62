"""What states say over recordings and events."""
