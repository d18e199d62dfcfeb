"""One CT series: find, order, decode to HU, geometry, lungs, write, phantom."""
