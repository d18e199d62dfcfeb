"""Whether an object is bit for bit what was signed: DICOM digital signatures, keys and trust (PS3.15)."""
