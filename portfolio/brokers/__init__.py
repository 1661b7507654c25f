"""Where orders go: filled on paper here, or sent to a broker."""
