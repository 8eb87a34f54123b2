"""Corrections of a cheap method towards a better one: the fit, its regression, and points that come with hemiec."""
