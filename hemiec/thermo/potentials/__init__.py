"""Chemical potentials of oxygen and lithium: deficiency, windows, voltages."""
