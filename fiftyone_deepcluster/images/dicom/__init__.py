"""DICOM: pixels, headers, and pictures made of them."""
