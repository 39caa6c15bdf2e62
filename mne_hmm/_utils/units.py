"""Units of the power of channels."""

# Of channels as they are, by their type.
DENSITY_UNITS = {"eeg": "V²/Hz", "mag": "T²/Hz", "grad": "T²/m²/Hz"}
# In figures: what densities are multiplied by, and their unit then.
SHOWN_DENSITY_UNITS = {
    **dict.fromkeys(("eeg", "eog", "ecg", "emg", "ecog", "seeg", "dbs"), (1e12, "µV²/Hz")),
    "mag": (1e30, "fT²/Hz"),
    "grad": (1e26, "(fT/cm)²/Hz"),
}
# Of channels of other types, and of several.
ANY_DENSITY_UNIT = "squared units/Hz"
